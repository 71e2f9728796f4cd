--- Values of any type: how a message shows them, copies of them, and whether a list has one.
local errors = require 'icot.base.errors'

local values = {}

local DEEPEST = 100 -- tables within tables

--- A value as it is shown in a message: short, and on one line.
---@param value any
---@return string
function values.show(value)
  if type(value) == 'string' then return ("'%s'"):format(errors.shortened(value, 60)) end
  if type(value) == 'number' then
    return (value % 1 == 0 and math.abs(value) <= 2 ^ 53 and '%.0f' or '%.14g'):format(value)
  end
  if type(value) == 'table' or type(value) == 'function' then return 'a ' .. type(value) end
  if type(value) == 'userdata' then return 'null' end -- the only one that comes from a file
  return tostring(value)
end

local function copy(value, where, depth)
  if type(value) ~= 'table' then return value end
  if depth > DEEPEST then
    local start = where and where .. ': ' or ''
    errors.raise('%stables lie in each other more than %d deep; does one contain itself?', start, DEEPEST)
  end
  local copied = {}
  for key, item in pairs(value) do copied[key] = copy(item, where, depth + 1) end
  return copied
end

--- A copy of a value, tables in depth.
---@generic T
---@param value T
---@param where? string what is copied, named at the start of an error: 'recipe'
---@return T
---raises an error when a table contains itself
function values.copy(value, where)
  return copy(value, where, 0)
end

--- Whether a value is in a list.
---@param value any
---@param list any[]
---@return boolean
function values.is_one_of(value, list)
  for _, each in ipairs(list) do
    if each == value then return true end
  end
  return false
end

return values
