--- Recipes that a test writes, each in a folder of its own, and what icot makes of them.
local overrides = require 'icot.recipe.overrides'
local recipe = require 'icot.recipe'
local temporary = require 'tests.lua.support.temporary'

local recipes = {}

local tiny = [[return {
  method = 'icot', dataset = { task = 'multiplication', digits = 2, train = 64, valid = 8, test = 8 },
  model = { layers = 1, heads = 2, width = 16 }, schedule = { kind = 'linear', steps_per_token = 1 },
  train = { steps = 12, batch = 8, log_every = 4, evaluate_every = 6 }, evaluate = { examples = 8, batch = 8 },
  arms = { { name = 'no_cot', method = 'no_cot' }, { name = 'icot' } }, %s
}]]

--- A study of two arms, which takes a fraction of a second.
---@param more? string more fields
---@return string text
function recipes.tiny(more)
  return tiny:format(more or '')
end

--- Writes mine.lua in a new folder.
---@param text? string of `recipes.tiny` by default
---@return string folder
function recipes.folder_with(text)
  local folder = temporary.folder()
  temporary.write(folder .. '/mine.lua', text or recipes.tiny())
  return folder
end

--- Loads a recipe.
---@param path string
---@param settings? string[] as for --set
---@param options? { output?: string, seed?: integer }
---@return icot.Recipe
function recipes.load(path, settings, options)
  local given = { settings = {} }
  for i, text in ipairs(settings or {}) do given.settings[i] = assert(overrides.parse(text)) end
  for name, value in pairs(options or {}) do given[name] = value end
  return recipe.load(path, given)
end

return recipes
