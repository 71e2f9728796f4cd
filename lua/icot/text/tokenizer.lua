--- Byte-level BPE, as GPT-2 has it: the vocabulary that comes with a pretrained model. It stands wherever an
--- `icot.Vocabulary` does.
---
---     local tokenizer = require 'icot.text.tokenizer'
---     local gpt2 = tokenizer.load('path/to/gpt2')
---     gpt2:decode(gpt2:encode('Hello world'))     --> 'Hello world'
---
--- Every byte is a token, so `decode(encode(text)) == text` for every string, UTF-8 or not. Names of special tokens
--- (`<|endoftext|>`) are those tokens wherever they stand in a text, and decoding writes them as they are called.
---
--- The memory isn't the collector's: `free` gives it back; the collector is only the net below.
local ffi = require 'ffi'
local added_tokens = require 'icot.text.added_tokens'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local tokenizer_files = require 'icot.text.tokenizer_files'
local vocabulary = require 'icot.text.vocabulary'

local C = core.C

local tokenizer = {}

tokenizer.SEPARATOR = vocabulary.SEPARATOR

---@class icot.Tokenizer
---@field tokenizer 'bpe'
---@field size integer number of ids, 0 … size-1
---@field eos integer id of `<|endoftext|>`
---@field separator integer id of `####`
---@field pause? integer id of `<pause>`, which takes the place of removed CoT tokens; nil: nothing does
---@field folder string where it came from, for messages
---@field files table<string, string> contents of the files it was made of, by their names
---@field handle ffi.cdata*|nil icot_tokenizer *; nil once it was freed
local Tokenizer = {}
Tokenizer.__index = Tokenizer

-- ---- Making one ---------------------------------------------------------------------------------

local function int32_array(list)
  return ffi.new('int32_t[?]', math.max(#list, 1), list)
end

local function create(parts)
  local bytes, bounds = table.concat(parts.tokens), ffi.new('int64_t[?]', #parts.tokens + 1)
  for i, token in ipairs(parts.tokens) do bounds[i] = bounds[i - 1] + #token end
  local merges, special = int32_array(parts.merges), int32_array(parts.special)
  local out, all = ffi.new('icot_tokenizer *[1]'), ffi.new('icot_tokenizer_parts')
  all.n_tokens, all.n_merges, all.n_special = #parts.tokens, #parts.merges / 3, #parts.special
  all.bytes, all.bounds, all.merges, all.special = bytes, bounds, merges, special
  core.check(C.icot_tokenizer_create(all, out))
  return ffi.gc(out[0], C.icot_tokenizer_free)
end

local function make(parts, folder)
  local eos = parts.ids[tokenizer_files.EOS]
  if not eos then errors.raise('%s: the vocabulary has no token %s', folder, tokenizer_files.EOS) end
  local self = setmetatable({ tokenizer = 'bpe', size = #parts.tokens, eos = eos, files = parts.files, folder = folder,
    handle = create(parts) }, Tokenizer)
  local separator = self:encode(tokenizer.SEPARATOR)
  if #separator ~= 1 then
    self:free()
    errors.raise('%s: %s is %d tokens of this vocabulary, expected a single one', folder, tokenizer.SEPARATOR,
      #separator)
  end
  self.separator = separator[1]
  return self
end

--- Loads the tokenizer of a Hugging Face folder: `tokenizer.json`, or else `vocab.json` and `merges.txt`.
---@param folder string
---@return icot.Tokenizer
---raises an error when a file is missing, broken, or asks for anything but GPT-2's byte-level BPE, and when
---`<|endoftext|>` or `####` is not a token
function tokenizer.load(folder)
  return make(tokenizer_files.read(folder), folder)
end

--- Whether a folder has the files of a tokenizer.
---@param folder string
---@return boolean
function tokenizer.is_at(folder)
  return tokenizer_files.are_in(folder)
end

--- The same tokenizer with a special token `<pause>`, for what takes the place of removed CoT tokens; if it has none
--- yet, with the id after all others. Parts of examples never have that id: in them it is text like any other.
---@return icot.Tokenizer
function Tokenizer:with_pause()
  local pause = self:encode(vocabulary.PAUSE) -- several ids but for a special token: GPT-2 cuts between < and letters
  local files = #pause == 1 and self.files or added_tokens.add(self.files, vocabulary.PAUSE, self.size)
  local made = make(tokenizer_files.read(self.folder, files), self.folder)
  made.pause = made:encode(vocabulary.PAUSE)[1]
  return made
end

--- Gives the memory back; the tokenizer can't be used any more. May be called again.
function Tokenizer:free()
  if self.handle then C.icot_tokenizer_free(ffi.gc(self.handle, nil)) end
  self.handle = nil
end

local function live(self)
  return self.handle or errors.raise('tokenizer: it was freed and cannot be used any more')
end

-- ---- Text to ids and back -----------------------------------------------------------------------

local ids_out, text_out = ffi.new('const int32_t *[1]'), ffi.new('const char *[1]')
local count_out = ffi.new('int64_t[1]')

--- Writes the ids of a text into an array.
---@param text string
---@param out integer[]|ffi.cdata* written from index 0 on; #text elements are always enough
---@param capacity? integer how many elements `out` has, if that may be too few
---@param plain? boolean names of special tokens are text like any other
---@return integer count
---raises an error when there are more ids than elements
function Tokenizer:encode_into(text, out, capacity, plain)
  core.check(C.icot_tokenizer_encode(live(self), text, #text, plain and 0 or 1, ids_out, count_out))
  local ids, count = ids_out[0], tonumber(count_out[0])
  if capacity and count > capacity then
    errors.raise('tokenizer: the text has %d tokens, there is room for %d', count, capacity)
  end
  for i = 0, count - 1 do out[i] = ids[i] end
  return count
end

--- The ids of a text.
---@param text string
---@param plain? boolean names of special tokens are text like any other
---@return integer[] ids 1-based array
function Tokenizer:encode(text, plain)
  core.check(C.icot_tokenizer_encode(live(self), text, #text, plain and 0 or 1, ids_out, count_out))
  local from, ids = ids_out[0], {}
  for i = 1, tonumber(count_out[0]) do ids[i] = from[i - 1] end
  return ids
end

-- A C array of a Lua array's ids.
local function array_of(self, ids)
  local array = ffi.new('int32_t[?]', math.max(#ids, 1))
  for i, id in ipairs(ids) do
    if type(id) ~= 'number' or id % 1 ~= 0 or id < 0 or id >= self.size then
      errors.raise('tokenizer: there is no id %s, its ids are 0 to %d', tostring(id), self.size - 1)
    end
    array[i - 1] = id
  end
  return array, #ids
end

--- The text of ids. Special tokens are written as they are called.
---@param ids integer[]|ffi.cdata* a 1-based array, or with `count` a C array of int32
---@param count? integer how many ids of a C array to take
---@return string
---raises an error when there is no such id
function Tokenizer:decode(ids, count)
  local handle = live(self)
  if not count then ids, count = array_of(self, ids) end
  core.check(C.icot_tokenizer_decode(handle, ids, count, text_out, count_out))
  return ffi.string(text_out[0], count_out[0])
end

-- ---- Parts of an example ------------------------------------------------------------------------

--- The ids of a question, CoT or answer. It gets a space before it, so that a word is the same token wherever it
--- stands; names of special tokens are text like any other.
---@param text string
---@param out ffi.cdata* int32, written from index 0 on; #text + 1 elements are always enough
---@return integer count
function Tokenizer:encode_part_into(text, out)
  if text == '' then return 0 end
  return self:encode_into(' ' .. text, out, nil, true)
end

--- The text of a question, CoT or answer, without the space before it.
---@param ids integer[]
---@return string
---raises an error when there is no such id
function Tokenizer:decode_part(ids)
  return (self:decode(ids):gsub('^ ', ''))
end

-- ---- For files ----------------------------------------------------------------------------------

--- Saves the tokenizer for Hugging Face: the files it was made of, byte for byte. Those of another tokenizer in the
--- folder are removed.
---@param folder string is made if it isn't there
---raises an error when a file cannot be written
function Tokenizer:save(folder)
  for _, name in ipairs(tokenizer_files.NAMES) do
    local path, text = folder .. '/' .. name, self.files[name]
    if text then core.write_file(path, text) end
  end
  for _, name in ipairs(tokenizer_files.NAMES) do
    if not self.files[name] then os.remove(folder .. '/' .. name) end
  end
end

return tokenizer
