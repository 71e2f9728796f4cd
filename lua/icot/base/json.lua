--- JSON for people and files: keys sorted, so that equal tables give equal text. Reading is left to cjson.
local cjson = require('cjson.safe').new()
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local json_text = require 'icot.base.json_text'
local names = require 'icot.base.names'
local values = require 'icot.base.values'

local json = {}

--- What null is decoded to.
json.null = cjson.null

local DEEPEST = 100 -- tables within tables; nothing that we read comes near

cjson.decode_max_depth(DEEPEST)
cjson.decode_invalid_numbers(false) -- no NaN, no Infinity, no 0x10

-- The shortest digits that give the same double again.
local function number_text(value)
  if value ~= value or math.abs(value) == math.huge then return 'null' end -- JSON has no word for these
  for _, format in ipairs { '%.14g', '%.16g', '%.17g' } do
    local text = format:format(value)
    if tonumber(text) == value then return text end
  end
end

--- Where a function was written, which is what can be told of one: "function at recipes/mine.lua:12".
---@param value function
---@return string
function json.describe_function(value)
  local info = debug.getinfo(value, 'S')
  return ('function at %s:%d'):format(info.short_src, info.linedefined)
end

--- Whether a value that was read stands for a function.
---@param value any
---@return boolean
function json.is_function_description(value)
  return type(value) == 'string' and value:find('^function at ') ~= nil
end

-- cjson writes every / as \/, which is allowed but hard to read in a path.
local function text_of(value)
  return (cjson.encode(value):gsub('\\/', '/'))
end

local encode_table

local function encode(value, indent)
  local kind = type(value)
  if kind == 'table' then return encode_table(value, indent) end
  if kind == 'number' then return number_text(value) end
  if kind == 'function' then return text_of(json.describe_function(value)) end
  if kind == 'userdata' or kind == 'nil' then return 'null' end
  return kind == 'boolean' and tostring(value) or text_of(tostring(value))
end

function encode_table(value, indent)
  local inner = indent .. '  '
  if #value > 0 then
    local items = {}
    for i, item in ipairs(value) do items[i] = encode(item, inner) end
    return '[' .. table.concat(items, ', ') .. ']'
  end
  local lines = {}
  for i, key in ipairs(names.sorted(value)) do
    lines[i] = ('%s%s: %s'):format(inner, text_of(tostring(key)), encode(value[key], inner))
  end
  if #lines == 0 then return '{}' end
  return '{\n' .. table.concat(lines, ',\n') .. '\n' .. indent .. '}'
end

--- Encodes a value; keys are sorted, and functions are named by where they were written.
---@param value any a table with string keys, a list, or a plain value
---@return string text
function json.encode(value)
  return encode(value, '')
end

--- Decodes a text.
---@param text string
---@return any? value nil: the text is not valid JSON
---@return string? message
function json.decode(text)
  if text:find('%z') then return nil, 'there is a zero byte in it' end -- cjson would take it for the end
  local value, message = cjson.decode(text)
  return value, message and message:gsub('T_END', 'the end') or nil
end

--- Decodes a text from outside, in which no object may have a key twice: a decoder takes the last one and says nothing.
---@param text string
---@return any? value nil: it is refused
---@return string? problem what is wrong with it, to follow its name: "has 'a' twice"
function json.decode_strictly(text)
  local value, message = json.decode(text)
  if value == nil then return nil, 'is not valid JSON: ' .. message end
  local repeated = json_text.repeated_key(text)
  if repeated then return nil, ('has %s twice'):format(values.show(repeated)) end
  return value
end

--- The contents of a JSON file in which no object has a key twice.
---@param path string
---@param most integer bytes that it may have
---@return any
---raises an error when it cannot be read or is no such file
function json.read_file(path, most)
  local value, problem = json.decode_strictly(files.read(path, most))
  if value == nil then errors.raise('%s: %s', path, problem) end
  return value
end

return json
