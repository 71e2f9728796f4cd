--- Reads a recipe and works out every run it stands for, checked before anything starts.
local arms = require 'icot.recipe.arms'
local chain = require 'icot.recipe.chain'
local equal_compute = require 'icot.recipe.equal_compute'
local errors = require 'icot.base.errors'
local fields = require 'icot.recipe.fields'
local json = require 'icot.base.json'
local options = require 'icot.base.options'
local overrides = require 'icot.recipe.overrides'
local recipe_source = require 'icot.recipe.source'
local resolve = require 'icot.recipe.resolve'
local run_paths = require 'icot.results.run_paths'
local values = require 'icot.base.values'

local recipe = {}

local LONGEST_NAME = 120 -- of an arm: a file's name may have 255 bytes, an arm in the index 128

---@class icot.Run one training, ready to start
---@field recipe string name of the recipe
---@field label string 'icot seed 1', among the runs of a study; of a single run the recipe's name
---@field arm string the arm's name (the method where a recipe has no arms), and the point of its grid: 'icot,lr=0.001'
---@field base_arm string the same without the point
---@field point string the point of the grid, 'lr=0.001'; '' where there is none
---@field seed integer
---@field own_length string? the field of `train` by which its arm itself says how long it trains
---@field config table every field resolved (icot.recipe.fields.run)
---@field config_json string the same as JSON
---@field steps? integer[] numbers of the runs that are the steps before it (icot.recipe.chain)
---@field is_step? boolean it is one of these
---@field waits_for? { number: integer, why: 'model'|'match' }[] runs that have to be over before it can start: it
---   begins with the model of one, or has to match what another one has used
---@field match? { what: 'updates'|'tokens'|'flops', of: integer[], less?: integer[] } what it has to use as much of as
---   some runs together, the runs that are counted in already, see icot.recipe.equal_compute
---@field budget? { limit: string, amount: number } what it was given, once that is known
---@field source string the recipe's text
---@field recipe_path string the recipe's file
---@field invocation table what `recipe.from_source` was given beside it: settings as their texts, seed
---@field output string path of the run file
---@field model_output string folder for model.safetensors and config.json

---@class icot.Recipe
---@field path string
---@field name string
---@field source string the recipe's text
---@field is_study boolean several runs, with an index at `output`
---@field output string
---@field config_json string the configuration as JSON; of a study, the list of all of them
---@field collapse_below number share of the explicit accuracy; a run that ends below it counts as collapsed
---@field runs icot.Run[]

-- Splits the fields of a run from those that make a study.
local function split(given, where)
  local run, study = {}, {}
  for name, value in pairs(given) do
    if not fields.recipe[name] then options.raise_unknown(fields.recipe, name, where, '') end
    local part = fields.study[name] and study or run
    part[name] = value
  end
  if run.seed ~= nil and study.seeds ~= nil then errors.raise('%s: give either seed or seeds, not both', where) end
  return run, options.check(fields.study, study, where)
end

local function describe_where(path, settings)
  local texts = {}
  for i, setting in ipairs(settings) do texts[i] = ' ' .. setting.text end
  return ('recipe %s%s'):format(path, #texts > 0 and ' with' .. table.concat(texts) or '')
end

-- An arm's name becomes that of a file.
local function full_name(arm, point, where)
  local name = point == '' and arm or arm .. ',' .. point
  if #name > LONGEST_NAME then
    errors.raise("%s: the grid's arm %s has a name of more than %d characters; write it as an arm with a shorter name",
                 where, values.show(name), LONGEST_NAME)
  end
  return name
end

local function add_run(self, config, base_arm, point, where, own_length)
  local arm = full_name(base_arm, point, where)
  config.output = self.is_study and run_paths.of_arm(self.output, arm, config.seed) or self.output
  local run = {
    recipe = self.name, arm = arm, base_arm = base_arm, point = point, seed = config.seed,
    own_length = own_length, config = config, config_json = json.encode(config),
    source = self.source, recipe_path = self.path, invocation = self.invocation,
    output = config.output, model_output = run_paths.model_folder(config.output),
  }
  table.insert(self.runs, run)
  return run
end

-- A run, or, where the method has several steps, a run for each of them.
local function add_runs(self, planned, by_name)
  local config, arm, point, where = planned.config, planned.arm, planned.point, planned.where
  local steps, numbers, folders = chain.steps(config), {}, {}
  if not steps then return add_run(self, config, arm, point, where, planned.own_length) end
  for i, step in ipairs(steps) do
    local name = chain.arm_of(arm, step)
    if name ~= arm and by_name[name] then
      errors.raise('%s: %s is the name of one of its steps; rename the arm of that name', where, name)
    end
    local run = add_run(self, chain.config(config, step, folders), name, point, where)
    folders[step], run.is_step = run.model_output, step ~= chain.LAST
    run.waits_for = i > 1 and { { number = numbers[i - 1], why = 'model' } } or nil
    run.steps = not run.is_step and numbers or nil
    if run.is_step then numbers[i] = #self.runs end
  end
end

-- Fills in the name and output that follow from where the recipe lies.
local function name_base(base, path, where)
  if base.name == nil then
    base.name = path:match('[^/]*$'):gsub('%.lua$', '')
  elseif not run_paths.is_name(base.name) then -- a path is made of it
    errors.raise('%s: name: got %s, expected a name of letters, digits, - _ .', where, values.show(base.name))
  end
  if base.output == nil then base.output = ('results/%s.h5'):format(base.name) end
  resolve.output(base.output, where)
end

-- What a checkpoint has to know to read the recipe once more; where the output goes is known from its own place.
local function describe_invocation(wanted)
  local texts = {}
  for i, setting in ipairs(wanted.settings or {}) do texts[i] = setting.given end
  return { settings = texts, seed = wanted.seed }
end

-- Expands what a recipe's file returned to its runs.
local function expand(path, source, given, all_settings, wanted)
  local where, settings = describe_where(path, all_settings), arms.sort_settings(all_settings)
  recipe_source.replace_models(given, where)
  for _, setting in ipairs(all_settings) do overrides.check_unset(setting, where) end
  for _, setting in ipairs(settings.recipe) do given = overrides.merge(given, overrides.changes(setting, 1)) end
  local base, study = split(given, where)
  name_base(base, path, where)

  local by_name = study.arms and arms.check(study.arms, where) or {}
  arms.check_settings(settings.arm, by_name)
  local self = {
    path = path, name = base.name, source = source, output = base.output, runs = {},
    invocation = describe_invocation(wanted),
    is_study = study.arms ~= nil or study.seeds ~= nil or study.grid ~= nil, collapse_below = study.collapse_below,
  }
  for _, each in ipairs(arms.plan(base, study, settings, where)) do
    self.is_study = self.is_study or chain.steps(each.config) ~= nil
    add_runs(self, each, by_name)
  end
  equal_compute.link(self.runs, study, where, wanted.is_kept)
  local configs = {}
  for i, run in ipairs(self.runs) do
    configs[i] = run.config
    run.label = self.is_study and ('%s seed %d'):format(run.arm, run.seed) or self.name
  end
  self.config_json = self.is_study and json.encode(configs) or self.runs[1].config_json
  return self
end

---@class icot.RecipeOptions
---@field settings? icot.Setting[] from `--set`, in order
---@field seed? integer takes the place of `seed` and `seeds`
---@field output? string takes the place of `output`
---@field is_kept? boolean it is that of runs which have begun, not one that a user could still change

--- Works out all runs of a recipe whose text is known.
---@param path string where it came from, for messages and its name
---@param source string
---@param wanted? icot.RecipeOptions
---@return icot.Recipe
---raises an error: an error in it, a field that is unknown, missing or out of range.
function recipe.from_source(path, source, wanted)
  wanted = wanted or {}
  local settings = {}
  for i, setting in ipairs(wanted.settings or {}) do settings[i] = setting end
  for name, flag in pairs { seed = '--seed', output = '--out' } do
    local value = wanted[name]
    if value ~= nil then
      settings[#settings + 1] = { keys = { name }, value = value, text = ('%s %s'):format(flag, value) }
    end
  end
  return expand(path, source, recipe_source.evaluate(path, source), settings, wanted)
end

--- Reads a recipe and checks all its runs.
---@param path string
---@param wanted? icot.RecipeOptions
---@return icot.Recipe
---raises an error: as `from_source`, and a file that cannot be read.
function recipe.load(path, wanted)
  return recipe.from_source(path, recipe_source.read(path), wanted)
end

return recipe
