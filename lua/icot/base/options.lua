--- Checks tables of options against a description of them, and fills in what is not given.
---
--- A field is described by
---   type      'integer' | 'number' | 'string' | 'boolean' | 'table' | 'function' | 'list', or a list of these
---   min, max  bounds of a number, both allowed; `above`, `below`: both not allowed
---   one_of    list of the strings that are allowed
---   also      list of single values that are allowed beside the type, such as `false`
---   default   taken when the field is not given;  required = true: it must be given
---   fields    description of the fields of a table; one that is not given is filled with their defaults
---   each      description of the items of a list
---   doc       what it is, for people
--- Numbers must be finite; an integer lies within ±(2^53 - 1).
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local values = require 'icot.base.values'

local options = {}

---@class icot.Field
---@field type string|string[]
---@field min? number
---@field max? number
---@field above? number
---@field below? number
---@field one_of? string[]
---@field also? any[]
---@field default? any
---@field required? boolean
---@field fields? table<string, icot.Field>
---@field each? icot.Field
---@field doc? string

---@alias icot.Fields table<string, icot.Field>

--- The largest integer that a field takes. The next double, 2^53, is also what 2^53 + 1 is read as.
options.largest_integer = 2 ^ 53 - 1

local function types_of(field)
  return type(field.type) == 'table' and field.type or { field.type }
end

local function is_finite(number)
  return number == number and math.abs(number) ~= math.huge
end

local has_type = {
  number = function(value) return type(value) == 'number' and is_finite(value) end,
  integer = function(value)
    return type(value) == 'number' and value % 1 == 0 and math.abs(value) <= options.largest_integer
  end,
  string = function(value) return type(value) == 'string' end,
  boolean = function(value) return type(value) == 'boolean' end,
  table = function(value) return type(value) == 'table' end,
  list = function(value)
    if type(value) ~= 'table' then return false end
    local count = 0
    for _ in pairs(value) do count = count + 1 end
    return count == #value
  end,
  ['function'] = function(value) return type(value) == 'function' end,
}

--- The types that a field may have.
---@type string[]
options.types = names.sorted(has_type)

local function in_range(field, value)
  return (not field.min or value >= field.min) and (not field.max or value <= field.max)
    and (not field.above or value > field.above) and (not field.below or value < field.below)
end

local function is_allowed(field, value)
  if field.also and values.is_one_of(value, field.also) then return true end
  for _, name in ipairs(types_of(field)) do
    if has_type[name](value) then
      if type(value) == 'number' then return in_range(field, value) end
      if type(value) == 'string' and field.one_of then return values.is_one_of(value, field.one_of) end
      return true
    end
  end
  return false
end

local article = {
  integer = 'an integer', number = 'a number', string = 'a string', boolean = 'true or false',
  table = 'a table', list = 'a list', ['function'] = 'a function',
}

-- A bound that is only there because everything has one is not worth a word, unless it was passed.
local generous = 1e6

local function describe_range(field, value, type_max)
  local show = values.show
  local max = field.max or type_max
  local over = type(value) == 'number' and max and value > max
  max = max and (max < generous or over) and max
  if field.min and max then return (' from %s to %s'):format(show(field.min), show(max)) end
  local lower = field.min and ' of at least ' .. show(field.min) or field.above and ' above ' .. show(field.above)
  local upper = max and 'at most ' .. show(max) or field.below and 'below ' .. show(field.below)
  if lower and upper then return lower .. ' and ' .. upper end
  return lower or (upper and ' ' .. upper) or ''
end

--- Whether a field may have values of a type.
---@param field icot.Field
---@param name string
---@return boolean
function options.may_be(field, name)
  return values.is_one_of(name, types_of(field))
end

--- What a field accepts, in words: "an integer of at least 1, or 'epoch'".
---@param field icot.Field
---@param value? any the one that was refused
---@return string
function options.describe(field, value)
  local parts = {}
  for _, name in ipairs(types_of(field)) do
    if name == 'string' and field.one_of then
      for _, allowed in ipairs(field.one_of) do parts[#parts + 1] = values.show(allowed) end
    elseif name == 'integer' then
      parts[#parts + 1] = article.integer .. describe_range(field, value, options.largest_integer)
    elseif name == 'number' then
      local infinite = type(value) == 'number' and not is_finite(value)
      parts[#parts + 1] = (infinite and 'a finite number' or article.number) .. describe_range(field, value)
    elseif name == 'list' and type(value) == 'string' then -- of --set
      parts[#parts + 1] = article.list .. ', such as [1,2]'
    else
      parts[#parts + 1] = article[name]
    end
  end
  for _, allowed in ipairs(field.also or {}) do parts[#parts + 1] = values.show(allowed) end
  if #parts == 1 then return parts[1] end
  return table.concat(parts, ', ', 1, #parts - 1) .. ' or ' .. parts[#parts]
end

--- Raises the error for a field that is not known, naming the nearest one that is.
---@param fields icot.Fields the fields that are known there
---@param name any the one that was given
---@param where string what is being read, such as 'recipe mult.lua'
---@param path string '' or the tables it lies in, such as 'optimizer.'
function options.raise_unknown(fields, name, where, path)
  local known = names.sorted(fields)
  local given = type(name) == 'string' and path .. name or ('%s[%s]'):format(path:gsub('%.$', ''), values.show(name))
  local nearest = names.nearest(tostring(name), known)
  if nearest then
    errors.raise('%s: %s is not a known field; did you mean %s?', where, given, path .. nearest)
  end
  for _, section in ipairs(known) do -- `lr` written outside `optimizer`
    local inner = fields[section].fields
    if inner and inner[name] then
      errors.raise('%s: %s is not a known field; did you mean %s.%s?', where, given, path .. section, name)
    end
  end
  errors.raise('%s: %s is not a known field; known are: %s', where, given, table.concat(known, ', '))
end

local check_table

local function check_value(field, value, where, path)
  if not is_allowed(field, value) then
    errors.raise('%s: %s: got %s, expected %s', where, path, values.show(value),
      options.describe(field, value))
  end
  if type(value) ~= 'table' then return value end
  if field.fields then return check_table(field.fields, value, where, path .. '.') end
  if not field.each then return values.copy(value, where .. ': ' .. path) end
  local items = {}
  for i, item in ipairs(value) do
    items[i] = check_value(field.each, item, where, ('%s[%d]'):format(path, i))
  end
  return items
end

function check_table(fields, given, where, path)
  for name in pairs(given) do
    if not fields[name] then options.raise_unknown(fields, name, where, path) end
  end
  local checked = {}
  for _, name in ipairs(names.sorted(fields)) do
    local field, value = fields[name], given[name]
    if value == nil then value = values.copy(field.default) end
    if value == nil and field.fields then value = {} end
    if value ~= nil then
      checked[name] = check_value(field, value, where, path .. name)
    elseif field.required then
      errors.raise('%s: %s is missing, expected %s', where, path .. name, options.describe(field))
    end
  end
  return checked
end

--- Checks a table of options.
---@param fields icot.Fields what is allowed
---@param given table what was given; it is not changed
---@param where string what is being read, named at the start of an error: 'recipe mult.lua'
---@param path? string the table that `given` lies in, with a dot at its end: 'dataset.'
---@return table checked a copy with defaults filled in
---raises an error: an unknown field (naming the nearest known one), a wrong type, a value out of range,
--- a required field that is missing.
function options.check(fields, given, where, path)
  path = path or ''
  if type(given) ~= 'table' then
    local place = path == '' and where or where .. ': ' .. path:sub(1, -2)
    errors.raise('%s: got %s, expected a table', place, values.show(given))
  end
  return check_table(fields, given, where, path)
end

--- The part of a table that its fields describe, without what a later version has added to a file.
---@param fields table<string, icot.Field>
---@param given any what is no table is left as it is
---@return any
function options.known_part(fields, given)
  if type(given) ~= 'table' then return given end
  local part = {}
  for name, field in pairs(fields) do
    part[name] = field.fields and options.known_part(field.fields, given[name]) or given[name]
  end
  return part
end

return options
