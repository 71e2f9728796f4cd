--- Changes laid over a recipe: by an arm of a study, or by `--set key=value`.
local errors = require 'icot.base.errors'
local fields = require 'icot.recipe.fields'
local json = require 'icot.base.json'
local options = require 'icot.base.options'
local values = require 'icot.base.values'

local overrides = {}

local WHERE = 'recipe' -- begins a message

--- Stands for "not given any more" among changes: `--set train.stop_at_accuracy=nil`.
overrides.unset = setmetatable({}, { __tostring = function() return 'nil' end })

-- What a change of `section` takes away from the table it is laid over. A field that is no longer given replaces
-- nothing.
local function drop_replaced(section, target, change)
  local function is_given(name) return change[name] ~= nil and change[name] ~= overrides.unset end
  local leading = fields.replaced_with[section]
  if leading and is_given(leading) and change[leading] ~= target[leading] then
    for key in pairs(target) do target[key] = nil end
  end
  for _, group in ipairs(fields.alternatives[section] or {}) do
    for i, name in ipairs(group) do
      if is_given(name) then target[group[3 - i]] = nil end
    end
  end
end

local function is_plain_table(value)
  return type(value) == 'table' and value ~= overrides.unset and #value == 0
end

--- Lays changes over a table: tables are merged in depth, everything else (lists too) is replaced.
---@param base table not changed
---@param change table
---@param section? string name of the field that `base` is; nil: a whole recipe
---@return table merged
function overrides.merge(base, change, section)
  local merged = values.copy(base, WHERE)
  drop_replaced(section or '', merged, change)
  for key, value in pairs(change) do
    if value == overrides.unset then
      merged[key] = nil
    elseif is_plain_table(value) then
      local inner = overrides.merge(is_plain_table(merged[key]) and merged[key] or {}, value, key)
      local is_emptied = next(inner) == nil and next(value) ~= nil -- all that there was is no longer given
      merged[key] = not is_emptied and inner or nil
    else
      merged[key] = values.copy(value, WHERE)
    end
  end
  return merged
end

local words = { ['true'] = true, ['false'] = false, ['nil'] = overrides.unset }

local function parse_value(text)
  if words[text] ~= nil then return words[text] end
  if tonumber(text) then return tonumber(text) end
  if not text:find('^[%[{"]') then return text end
  local value, problem = json.decode_strictly(text)
  local is_lua = value == nil and text:find('^{%s*[^%s"}]')
  return value, is_lua and 'lists are written [1,2], tables {"key":1}' or problem
end

---@class icot.Setting
---@field keys string[] the path, split at its dots
---@field value any `overrides.unset` for nil
---@field given string the text that it was read from: 'optimizer.lr=1e-3'
---@field text string the same for messages: '--set optimizer.lr=1e-3'

--- Reads `key=value`: true, false, nil, numbers, JSON (lists, objects, quoted strings), else a string.
---@param text string such as 'optimizer.lr=1e-3'
---@return icot.Setting? setting
---@return string? message what is wrong with it
function overrides.parse(text)
  local path, value_text = text:match('^([^=]*)=(.*)$')
  local shown = '--set ' .. errors.one_line(text)
  if not path then return nil, shown .. ': expected KEY=VALUE' end
  local keys = {}
  for key in (path .. '.'):gmatch('([^.]*)%.') do
    if not key:find('^[%w_-]+$') then
      return nil, errors.one_line(("%s: '%s' is not the name of a field"):format(shown, path))
    end
    keys[#keys + 1] = key
  end
  local value, message = parse_value(value_text)
  if value == nil then return nil, ('%s: %s'):format(shown, message) end
  return { keys = keys, value = value, given = text, text = shown }
end

--- Reads settings whose texts were kept, by a checkpoint or for another process.
---@param texts string[]
---@param where string named at the start of an error
---@return icot.Setting[]
---raises an error: one of them is no setting
function overrides.read(texts, where)
  local settings = {}
  for i, text in ipairs(texts) do
    local setting, problem = overrides.parse(text)
    settings[i] = setting or errors.raise('%s: %s', where, problem)
  end
  return settings
end

--- Makes sure that a field that is taken away exists; what depends on a kind or task is not looked into.
---@param setting icot.Setting
---@param where string named at the start of an error
---raises an error that names the nearest field
function overrides.check_unset(setting, where)
  if setting.value ~= overrides.unset then return end
  local first = setting.keys[1] == 'arms' and 3 or 1
  if setting.keys[first] == 'grid' then first = first + 1 end
  local known, path = fields.recipe, ''
  for i = first, #setting.keys do
    local field = known[setting.keys[i]] or options.raise_unknown(known, setting.keys[i], where, path)
    path, known = path .. setting.keys[i] .. '.', field.fields
    if not known and options.may_be(field, 'table') then return end
    if not known and i < #setting.keys then
      errors.raise('%s: %s is not a known field; %s has none of its own', where, path .. setting.keys[i + 1],
                   path:sub(1, -2))
    end
  end
end

--- The changes that a setting stands for, from its key number `first` on.
---@param setting icot.Setting|{ keys: string[], value: any }
---@param first integer
---@return table changes { optimizer = { lr = 1e-3 } }
function overrides.changes(setting, first)
  local change = setting.value
  for i = #setting.keys, first, -1 do change = { [setting.keys[i]] = change } end
  return change
end

return overrides
