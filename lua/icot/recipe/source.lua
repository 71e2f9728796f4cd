--- The text of a recipe, and what it returns.
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local gpt2 = require 'icot.gpt2'
local values = require 'icot.base.values'

local recipe_source = {}

local HDF5 = '\137HDF\r\n\26\n' -- how such a file begins

--- Reads the file of a recipe.
---@param path string
---@return string text
---raises an error when it cannot be read
function recipe_source.read(path)
  local file, message = io.open(path, 'rb')
  if not file then
    local hint = files.kind(path .. '.lua') and (' (%s.lua is there)'):format(path) or ''
    errors.raise('recipe %s: %s%s', path, errors.reason(message), hint)
  end
  local text, trouble = file:read('*a')
  file:close()
  if not text then errors.raise('recipe %s: cannot be read: %s', path, trouble or 'is it a folder?') end
  if text:sub(1, #HDF5) == HDF5 then
    errors.raise('recipe %s: is a run file; icot --resume RUN goes on with it, icot eval RUN evaluates it', path)
  end
  return text
end

-- LuaJIT's messages continue with all the places where a module was looked for, or quote text of several lines.
local function first_line(message)
  return (message:match('^[^\n]*'):gsub(':$', ''))
end

-- What helps where a recipe uses icot's modules and has not asked for them.
local function hint_at_require(message)
  return message:find("global 'icot'", 1, true) and " (begin the recipe with: local icot = require 'icot')" or ''
end

--- Runs the text of a recipe; what goes wrong in it is the user's to mend, so it is a user error.
---@param path string where it came from, for messages
---@param source string
---@return table given what it returned
---raises an error: an error in it, no table
function recipe_source.evaluate(path, source)
  local chunk, syntax_message = loadstring(source, '@' .. path)
  if not chunk then errors.raise('%s', first_line(syntax_message)) end
  local ok, result = pcall(chunk)
  if not ok then
    if errors.is_user_error(result) then error(result, 0) end
    local message = type(result) == 'string' and first_line(result) or 'raised ' .. values.show(result)
    message = message .. hint_at_require(message)
    errors.raise('%s', message:find(path, 1, true) and message or ('recipe %s: %s'):format(path, message))
  end
  if type(result) ~= 'table' then
    errors.raise('recipe %s: returns %s, expected a table (does it end in `return { … }`?)', path, values.show(result))
  end
  return result
end

--- `model = icot.gpt2.from_pretrained(…)` stands for where that model came from: each run loads it for itself. Here it
--- is freed.
---@param given table what a recipe returned; it is changed
---@param where string for errors
---raises an error when a model was made in the recipe
function recipe_source.replace_models(given, where)
  local replaced = {}
  local function replace(section)
    local model = type(section) == 'table' and section.model
    if type(model) ~= 'table' or not getmetatable(model) or not gpt2.is_model(model) then return end
    if not model.pretrained then
      errors.raise('%s: model: got a model made in the recipe; give its sizes, or one that gpt2.from_pretrained loaded',
                   where)
    end
    section.model, replaced[model] = values.copy(model.pretrained), true
  end
  replace(given)
  for _, arm in ipairs(type(given.arms) == 'table' and given.arms or {}) do replace(arm) end
  for model in pairs(replaced) do model:free() end
end

return recipe_source
