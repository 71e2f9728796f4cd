--- The files of a byte-level BPE tokenizer, as Hugging Face writes them: `tokenizer.json`, or else `vocab.json` and
--- `merges.txt`, with `added_tokens.json` if it is there. Everything in them is checked before anything is made of it.
local byte_alphabet = require 'icot.text.byte_alphabet'
local errors = require 'icot.base.errors'
local example_file = require 'icot.text.example_file'
local files = require 'icot.base.files'
local json = require 'icot.base.json'

local raise = errors.raise
local MOST_IDS, MOST_BYTES = 2 ^ 31 - 1, 2 ^ 28

local tokenizer_files = {}

tokenizer_files.EOS = '<|endoftext|>'

--- Names of all files that a folder may have of a tokenizer.
tokenizer_files.NAMES = { 'tokenizer.json', 'vocab.json', 'merges.txt', 'added_tokens.json' }

---@class icot.TokenizerParts
---@field tokens string[] bytes of token i at tokens[i + 1]
---@field ids table<string, integer> the other way round
---@field merges integer[] left, right and resulting id of each merge, one after the other
---@field special integer[] ids of tokens that are taken whole wherever they stand in a text
---@field files table<string, string> contents of the files by their names

-- A name from a file as a message may show it.
local function shown(name)
  return errors.shortened(name, 60)
end

-- What is being read: how messages name it, and what was found so far.
---@class icot.TokenizerReader
---@field folder string
---@field given? table<string, string> contents of the files, if these are not to be read from the folder
---@field files table<string, string> contents of those that were read
---@field source string the file with the vocabulary
---@field names table<integer, string> how the vocabulary writes the token of an id
---@field ids table<string, integer>
---@field count integer number of names
---@field special table<integer, boolean>
local Reader = {}
Reader.__index = Reader

function Reader:path(name)
  return self.folder .. '/' .. name
end

-- ---- Files --------------------------------------------------------------------------------------

function Reader:has(name)
  if self.given then return self.given[name] ~= nil end
  return files.kind(self:path(name)) == 'file'
end

function Reader:read(name)
  local path = self:path(name)
  local text = self.given and self.given[name] or files.read(path, MOST_BYTES)
  if text:sub(1, 3) == example_file.BYTE_ORDER_MARK then
    raise('%s: begins with a byte order mark; save it as UTF-8 without one', path)
  end
  self.files[name] = text
  return text
end

function Reader:read_json(name)
  local text = self:read(name)
  local value, problem = json.decode_strictly(text)
  if value == nil then raise('%s: %s', self:path(name), problem) end
  return self:expect_table(value, name, 'the file')
end

-- JSON's null is a userdata.
local function is_given(value)
  return value ~= nil and type(value) ~= 'userdata'
end

function Reader:expect_table(value, name, what)
  if type(value) ~= 'table' then
    raise('%s: %s is %s, expected an object or a list', self:path(name), what,
      is_given(value) and 'a ' .. type(value) or 'missing')
  end
  return value
end

function Reader:expect_list(value, name, what)
  self:expect_table(value, name, what)
  if #value == 0 and next(value) ~= nil then raise('%s: %s is an object, expected a list', self:path(name), what) end
  return value
end

-- ---- Vocabulary ---------------------------------------------------------------------------------

function Reader:expect_id(id, name, file)
  if type(name) ~= 'string' then raise('%s: the vocabulary is a list, expected names with ids', self:path(file)) end
  if type(id) ~= 'number' or id % 1 ~= 0 or id < 0 or id >= MOST_IDS then
    raise("%s: token '%s' has the id %s, expected an integer of at least 0", self:path(file), shown(name),
      is_given(id) and shown(tostring(id)) or 'null')
  end
  return id
end

function Reader:add_name(id, name, file)
  local other = self.names[id]
  if other then
    raise("%s: tokens '%s' and '%s' have the same id %d", self:path(file), shown(other), shown(name), id)
  end
  self.names[id], self.ids[name] = name, id
  self.count = self.count + 1
end

function Reader:add_vocabulary(vocabulary)
  for name, id in pairs(vocabulary) do
    self:add_name(self:expect_id(id, name, self.source), name, self.source)
  end
end

-- A special token may stand in the vocabulary too, or only here.
function Reader:add_special(id, name, file)
  self:expect_id(id, name, file)
  local known = self.ids[name]
  if known and known ~= id then
    raise("%s: the added token '%s' has the id %d, in the vocabulary it is %d", self:path(file), shown(name), id,
      known)
  end
  if not known then self:add_name(id, name, file) end
  self.special[id] = true
end

-- The bytes of a token. Special tokens are written as they are, the others in the byte alphabet.
function Reader:bytes_of(id)
  local name = self.names[id]
  if name == '' then raise('%s: the token with id %d is empty', self:path(self.source), id) end
  if self.special[id] then return name end
  local bytes, stranger = byte_alphabet.decode(name)
  if not bytes then
    raise("%s: token '%s' (id %d) has the character '%s', which does not encode a byte", self:path(self.source),
      shown(name), id, shown(stranger))
  end
  return bytes
end

function Reader:all_bytes()
  local tokens, ids = {}, {}
  for id = 0, self.count - 1 do
    if not self.names[id] then
      raise('%s: has %d tokens but none with id %d; ids must be 0 to %d without gaps', self:path(self.source),
        self.count, id, self.count - 1)
    end
    local bytes = self:bytes_of(id)
    tokens[id + 1], ids[bytes] = bytes, id
  end
  for byte = 0, 255 do
    if not ids[string.char(byte)] then
      raise("%s: there is no token '%s' for the byte 0x%02X", self:path(self.source), byte_alphabet.letter(byte), byte)
    end
  end
  return tokens, ids
end

-- ---- Merges -------------------------------------------------------------------------------------

-- Calls add(where, left, right) for each line of merges.txt.
function Reader:each_merge_line(add)
  local path, text = self:path('merges.txt'), self:read('merges.txt')
  if text ~= '' and text:sub(-1) ~= '\n' then text = text .. '\n' end
  local number = 0
  for line in text:gmatch('([^\n]*)\n') do
    number = number + 1
    local where = ('%s:%d'):format(path, number)
    if line:find('\r', 1, true) then raise('%s: the line ends in CR LF, expected LF alone', where) end
    if number > 1 or not line:find('^#version') then
      local left, right = line:match('^([^ ]+) ([^ ]+)$')
      if not left then raise("%s: got '%s', expected two tokens with a space between them", where, shown(line)) end
      add(where, left, right)
    end
  end
end

-- The same for the list in tokenizer.json, whose merges are "a b" or ["a", "b"].
function Reader:each_merge_item(merges, add)
  for i, item in ipairs(self:expect_list(merges, 'tokenizer.json', 'model.merges')) do
    local where = ('%s: merge %d'):format(self:path('tokenizer.json'), i)
    local left, right
    if type(item) == 'string' then left, right = item:match('^([^ ]+) ([^ ]+)$') end
    if type(item) == 'table' and #item == 2 then left, right = item[1], item[2] end
    if type(left) ~= 'string' or type(right) ~= 'string' then raise('%s: expected two tokens', where) end
    add(where, left, right)
  end
end

-- Adds to flat lists of ids; `seen` tells where a merge of the same two stood.
function Reader:merge_adder(merges, made)
  local ids, seen = self.ids, {}
  local function id_of(where, name)
    return ids[name] or raise("%s: '%s' is not in the vocabulary", where, shown(name))
  end
  return function(where, left, right)
    local pair = left .. ' ' .. right
    if seen[pair] then raise("%s: the merge '%s' appears twice", where, shown(pair)) end
    seen[pair] = true
    local n, result = #merges, id_of(where, left .. right)
    merges[n + 1], merges[n + 2], merges[n + 3] = id_of(where, left), id_of(where, right), result
    made[result] = true
  end
end

-- A token that no merge makes would never be used. That is how a file that was cut off shows.
function Reader:check_all_made(tokens, made, merges_name)
  if next(made) == nil then raise('%s: has no merges', self:path(merges_name)) end
  for id = 0, self.count - 1 do
    if #tokens[id + 1] > 1 and not made[id] and not self.special[id] then
      raise("%s: no merge makes the token '%s' (id %d); the file is cut off, or the token is a special one, which "
        .. 'tokenizer.json or added_tokens.json must list', self:path(merges_name), shown(self.names[id]), id)
    end
  end
end

-- ---- tokenizer.json -----------------------------------------------------------------------------

-- Whether a post-processor adds no tokens.
local function adds_nothing(processor)
  if processor.type == 'ByteLevel' then return true end
  local special = processor.special_tokens
  return processor.type == 'TemplateProcessing' and type(special) == 'table' and next(special) == nil
end

-- Fields that would change ids or text, and what they may be.
local function check_pipeline(path, file)
  local function refuse(field, expected)
    raise("%s: %s is not supported, expected %s: only GPT-2's byte-level BPE is", path, field, expected)
  end
  local before, after, decoder = file.pre_tokenizer, file.post_processor, file.decoder
  if is_given(file.normalizer) then refuse('normalizer', 'null') end
  if type(before) ~= 'table' or before.type ~= 'ByteLevel' then refuse('this pre_tokenizer', 'ByteLevel') end
  if before.add_prefix_space ~= false then refuse('pre_tokenizer.add_prefix_space', 'false') end
  if before.use_regex == false then refuse('pre_tokenizer.use_regex false', 'true') end
  if is_given(after) and not (type(after) == 'table' and adds_nothing(after)) then
    refuse('this post_processor', 'ByteLevel')
  end
  if is_given(decoder) and not (type(decoder) == 'table' and decoder.type == 'ByteLevel') then
    refuse('this decoder', 'ByteLevel')
  end
end

local neutral = { -- of the fields of the model; null is one for all of them
  dropout = 0, unk_token = '', continuing_subword_prefix = '', end_of_word_suffix = '', byte_fallback = false,
  ignore_merges = false,
}

local function check_model(path, model)
  if is_given(model.type) and model.type ~= 'BPE' then
    raise("%s: model.type is '%s', expected BPE", path, shown(tostring(model.type)))
  end
  for field, value in pairs(neutral) do
    if is_given(model[field]) and model[field] ~= value then
      raise("%s: model.%s is not supported, expected null: only GPT-2's byte-level BPE is", path, field)
    end
  end
end

function Reader:add_added_tokens(list)
  if not is_given(list) then return end
  for _, token in ipairs(self:expect_list(list, 'tokenizer.json', 'added_tokens')) do
    self:expect_table(token, 'tokenizer.json', 'an added token')
    if type(token.content) ~= 'string' then
      raise('%s: an added token has no content', self:path('tokenizer.json'))
    end
    for _, flag in ipairs { 'single_word', 'lstrip', 'rstrip' } do
      if is_given(token[flag]) and token[flag] ~= false then
        raise("%s: added token '%s': %s is not supported, expected false", self:path('tokenizer.json'),
          shown(token.content), flag)
      end
    end
    self:add_special(token.id, token.content, 'tokenizer.json')
  end
end

-- Both readers return a function that calls add(where, left, right) for each merge, and the file of the merges.

function Reader:read_tokenizer_json()
  self.source = 'tokenizer.json'
  local file, path = self:read_json('tokenizer.json'), self:path('tokenizer.json')
  local model = self:expect_table(file.model, 'tokenizer.json', 'model')
  check_pipeline(path, file)
  check_model(path, model)
  self:add_vocabulary(self:expect_table(model.vocab, 'tokenizer.json', 'model.vocab'))
  self:add_added_tokens(file.added_tokens)
  return function(add) self:each_merge_item(model.merges, add) end, 'tokenizer.json'
end

function Reader:read_vocab_and_merges()
  self.source = 'vocab.json'
  self:add_vocabulary(self:read_json('vocab.json'))
  local eos = self.ids[tokenizer_files.EOS]
  if eos then self:add_special(eos, tokenizer_files.EOS, 'vocab.json') end
  if self:has('added_tokens.json') then
    for name, id in pairs(self:read_json('added_tokens.json')) do self:add_special(id, name, 'added_tokens.json') end
  end
  return function(add) self:each_merge_line(add) end, 'merges.txt'
end

--- Reads and checks the files of a folder. Of `tokenizer.json` and the other files the former counts, as it does for
--- Hugging Face.
---@param folder string
---@param given? table<string, string> contents of the files by their names; the folder is for messages then
---@return icot.TokenizerParts
---raises an error that names the file, and of merges.txt the line
function tokenizer_files.read(folder, given)
  local reader = setmetatable({
    folder = folder, given = given, files = {}, names = {}, ids = {}, count = 0, special = {},
  }, Reader)
  if not reader:has('tokenizer.json') and not reader:has('vocab.json') then
    raise('%s: there is no tokenizer.json, nor vocab.json and merges.txt', folder)
  end
  local each_merge, merges_name
  if reader:has('tokenizer.json') then
    each_merge, merges_name = reader:read_tokenizer_json()
  else
    each_merge, merges_name = reader:read_vocab_and_merges()
  end
  local tokens, ids = reader:all_bytes()
  local merges, made, special = {}, {}, {}
  each_merge(reader:merge_adder(merges, made))
  reader:check_all_made(tokens, made, merges_name)
  for id in pairs(reader.special) do special[#special + 1] = id end
  table.sort(special)
  return { tokens = tokens, ids = ids, merges = merges, special = special, files = reader.files }
end

--- Whether a folder has files of a tokenizer: all of them, or reading it says which is missing.
---@param folder string
---@return boolean
function tokenizer_files.are_in(folder)
  for _, name in ipairs(tokenizer_files.NAMES) do
    if files.kind(folder .. '/' .. name) == 'file' then return true end
  end
  return false
end

return tokenizer_files
