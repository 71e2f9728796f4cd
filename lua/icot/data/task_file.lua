--- What a task's file returns, checked before it is used: whoever wrote it may have done so for the first time.
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local options = require 'icot.base.options'
local values = require 'icot.base.values'

local task_file = {}

local function check_type(given, place)
  local list = type(given) == 'table' and given or { given }
  if #list == 0 then
    errors.raise('%s.type is missing, expected one of: %s', place, table.concat(options.types, ', '))
  end
  for _, name in ipairs(list) do
    if not values.is_one_of(name, options.types) then
      errors.raise("%s.type: '%s' is no type; %s", place, tostring(name), names.hint(name, options.types))
    end
  end
end

local function check_options(described, place)
  for name, field in pairs(described) do
    local own = ('%s.%s'):format(place, tostring(name))
    if type(field) ~= 'table' then
      errors.raise("%s: is a %s, expected a description such as { type = 'integer', min = 1, default = 4 }", own,
                   type(field))
    end
    check_type(field.type, own)
    if field.fields then check_options(field.fields, own .. '.fields') end
  end
end

--- Makes sure that a file has returned a task.
---@param found any what it returned
---@param name string of the task
---@param where string what is being read, named at the start of an error
---@return icot.Task
---raises an error that says what is missing, or which option is declared in a way that icot.base.options does not know
function task_file.check(found, name, where)
  if type(found) ~= 'table' or type(found.options) ~= 'table' or type(found.load) ~= 'function' then
    errors.raise('%s: datasets/%s.lua must return { options = …, load = … }', where, name)
  end
  check_options(found.options, ('%s: datasets/%s.lua: options'):format(where, name))
  return found
end

return task_file
