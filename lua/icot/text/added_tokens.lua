--- Adds a special token to the files of a byte-level BPE tokenizer, for icot and for Hugging Face. Everything else in
--- them stays as it is, byte for byte.
local json = require 'icot.base.json'
local json_text = require 'icot.base.json_text'

local added_tokens = {}

local LIST = 'added_tokens'

-- ---- The files ------------------------------------------------------------------------------------

-- A list with one more item at its end, where Hugging Face has the highest id; null stands for an empty one.
local function append(list, item)
  local items = list:match('^%[(.-)%s*%]$') or ''
  return ('[%s%s]'):format(items == '' and '' or items .. ',', item)
end

local function add_to_tokenizer_json(text, name, id)
  local item = ('{"id":%d,"content":"%s","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,'
                .. '"special":true}'):format(id, name)
  local first, last = json_text.find_member(text, LIST)
  if first then return text:sub(1, first - 1) .. append(text:sub(first, last), item) .. text:sub(last + 1) end
  local inside = text:match('^%s*{()')
  return ('%s"%s":[%s],%s'):format(text:sub(1, inside - 1), LIST, item, text:sub(inside))
end

local function add_to_added_tokens_json(text, name, id)
  local tokens = text and json.decode(text) or {}
  tokens[name] = id
  return json.encode(tokens) .. '\n'
end

--- The files with one more special token.
---@param files table<string, string> contents by name, of a tokenizer that has no token of this name and id
---@param name string needs no escaping in JSON
---@param id integer the one after all others
---@return table<string, string>
function added_tokens.add(files, name, id)
  local changed = {}
  for file, text in pairs(files) do changed[file] = text end
  local list = LIST .. '.json'
  if files['tokenizer.json'] then
    changed['tokenizer.json'] = add_to_tokenizer_json(files['tokenizer.json'], name, id)
  else
    changed[list] = add_to_added_tokens_json(files[list], name, id)
  end
  return changed
end

return added_tokens
