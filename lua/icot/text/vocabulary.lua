--- A vocabulary: the symbols a model knows, and how text is cut into them.
---
--- Two tokenizers, both exact: `decode(encode(text)) == text` for every text.
---   'word'       symbols are separated by single spaces, as in `1 2 * 3 4`. Two spaces in a row
---                have an empty symbol between them.
---   'character'  every UTF-8 character is a symbol, spaces included.
---
--- Id 0 is `<eos>` and id 1 is `####`, the two separators of a sequence; the others follow.
local errors = require 'icot.base.errors'
local values = require 'icot.base.values'

local find, sub, byte = string.find, string.sub, string.byte

local vocabulary = {}

vocabulary.EOS, vocabulary.SEPARATOR, vocabulary.PAUSE = '<eos>', '####', '<pause>'

---@class icot.Vocabulary
---@field tokenizer 'word'|'character'
---@field size integer number of ids, 0 … size-1
---@field eos integer id of `<eos>`
---@field separator integer id of `####`
---@field pause? integer id of `<pause>`, which takes the place of removed CoT tokens; nil: nothing does
---@field source? string the file that it comes from, for messages
---@field symbols string[] symbol of id i is symbols[i + 1]
---@field ids table<string, integer>
local Vocabulary = {}
Vocabulary.__index = Vocabulary

-- ---- Tokenizers ---------------------------------------------------------------------------------

-- Steps of a `for position, symbol in splitter, text, 0`: from the bytes already read to the next
-- symbol. After a word the space behind it counts as read too.
local splitters = {}

function splitters.word(text, position)
  if position > #text or text == '' then return nil end
  local space = find(text, ' ', position + 1, true) or #text + 1
  return space, sub(text, position + 1, space - 1)
end

-- Bytes of the UTF-8 character that begins with this byte.
local function character_bytes(first)
  if first < 0xC0 then return 1 end
  return first < 0xE0 and 2 or first < 0xF0 and 3 or 4
end

function splitters.character(text, position)
  if position >= #text then return nil end
  local stop = position + character_bytes(byte(text, position + 1))
  return stop, sub(text, position + 1, stop)
end

local glue = { word = ' ', character = '' }

local function check_tokenizer(tokenizer)
  if not splitters[tokenizer] then
    errors.raise("vocabulary: got the tokenizer %s, expected 'word' or 'character'", values.show(tokenizer))
  end
end

-- ---- Making one ---------------------------------------------------------------------------------

--- A vocabulary of the two separators and the given symbols, which get ids 2, 3, … in this order.
---@param tokenizer 'word'|'character'
---@param symbols string[] each once, without the separators
---@return icot.Vocabulary
function vocabulary.new(tokenizer, symbols)
  check_tokenizer(tokenizer)
  local self = setmetatable({ tokenizer = tokenizer, symbols = {}, ids = {} }, Vocabulary)
  local function add(symbol)
    if type(symbol) ~= 'string' or self.ids[symbol] then
      errors.raise('vocabulary: symbol %d is %s, expected a string that appears only once', #self.symbols,
        values.show(symbol))
    end
    self.ids[symbol] = #self.symbols
    self.symbols[#self.symbols + 1] = symbol
  end
  add(vocabulary.EOS)
  add(vocabulary.SEPARATOR)
  for _, symbol in ipairs(symbols) do add(symbol) end
  self.size, self.eos, self.separator = #self.symbols, 0, 1
  return self
end

-- All symbols but the two separators.
local function others_of(symbols)
  local others = {}
  for i = 3, #symbols do others[i - 2] = symbols[i] end
  return others
end

--- The same vocabulary with one more symbol, `<pause>`, for what takes the place of removed CoT tokens.
---@return icot.Vocabulary
---raises an error when it has a symbol that is called so
function Vocabulary:with_pause()
  if self.ids[vocabulary.PAUSE] then
    errors.raise("vocabulary: the examples have the symbol '%s', which this method uses for removed CoT; rename it in "
                 .. 'the examples', vocabulary.PAUSE)
  end
  local symbols = others_of(self.symbols)
  symbols[#symbols + 1] = vocabulary.PAUSE
  local made = vocabulary.new(self.tokenizer, symbols)
  made.pause = self.size
  return made
end

--- The same vocabulary without a last symbol `<pause>`.
---@return icot.Vocabulary
function Vocabulary:without_pause()
  local symbols = others_of(self.symbols)
  if symbols[#symbols] == vocabulary.PAUSE then symbols[#symbols] = nil end
  local made = vocabulary.new(self.tokenizer, symbols)
  made.source = self.source
  return made
end

---@class icot.SymbolCollector
---@field tokenizer 'word'|'character'
local SymbolCollector = {}
SymbolCollector.__index = SymbolCollector

--- Collects the symbols of any number of texts for a vocabulary that doesn't depend on their order.
---@param tokenizer 'word'|'character'
---@return icot.SymbolCollector
function vocabulary.collector(tokenizer)
  check_tokenizer(tokenizer)
  return setmetatable({ tokenizer = tokenizer, seen = {} }, SymbolCollector)
end

--- Notes the symbols of a text.
---@param text string
---@return integer count how many symbols the text has
function SymbolCollector:add(text)
  local seen, count = self.seen, 0
  for _, symbol in splitters[self.tokenizer], text, 0 do
    seen[symbol] = true
    count = count + 1
  end
  return count
end

--- The vocabulary of all texts so far, its symbols sorted by their bytes.
---@return icot.Vocabulary
function SymbolCollector:finish()
  local symbols = {}
  for symbol in pairs(self.seen) do
    if symbol ~= vocabulary.EOS and symbol ~= vocabulary.SEPARATOR then symbols[#symbols + 1] = symbol end
  end
  table.sort(symbols)
  return vocabulary.new(self.tokenizer, symbols)
end

-- ---- Text to ids and back -----------------------------------------------------------------------

--- Writes the ids of a text into an array.
---@param text string
---@param out integer[]|ffi.cdata* written from index 0 on; #text + 1 elements are always enough
---@return integer count
---raises an error when a symbol of the text isn't in the vocabulary
function Vocabulary:encode_into(text, out)
  local ids, count = self.ids, 0
  for _, symbol in splitters[self.tokenizer], text, 0 do
    local id = ids[symbol]
    if not id then
      errors.raise('%s: %s is not among its %d symbols', self.source or 'vocabulary', values.show(symbol), self.size)
    end
    out[count] = id
    count = count + 1
  end
  return count
end

--- The ids of a text.
---@param text string
---@return integer[] ids 1-based array
---raises an error when a symbol of the text isn't in the vocabulary
function Vocabulary:encode(text)
  local ids = {}
  local count = self:encode_into(text, ids)
  for i = count, 1, -1 do ids[i] = ids[i - 1] end
  ids[0] = nil
  return ids
end

--- The text of ids. `<eos>` and `####` are written as they are called.
---@param ids integer[]|ffi.cdata* a 1-based array, or with `count` a C array of int32
---@param count? integer how many ids of a C array to take
---@return string
---raises an error when there is no such id
function Vocabulary:decode(ids, count)
  local words, first = {}, count and 0 or 1
  for i = 1, count or #ids do
    local id = ids[first + i - 1]
    words[i] = self.symbols[id + 1] or errors.raise('vocabulary: there is no id %d, its ids are 0 to %d',
      id, self.size - 1)
  end
  return table.concat(words, glue[self.tokenizer])
end

--- The ids of a part of an example; here parts are texts like any other (unlike with icot.text.tokenizer).
---@param text string
---@param out ffi.cdata* int32, written from index 0 on; #text + 1 elements are always enough
---@return integer count
function Vocabulary:encode_part_into(text, out)
  return self:encode_into(text, out)
end

--- The text of a part of an example.
---@param ids integer[]
---@return string
function Vocabulary:decode_part(ids)
  return self:decode(ids)
end

-- ---- For files ----------------------------------------------------------------------------------

--- What a file must hold to bring this vocabulary back: strings only, fit for JSON.
---@return { tokenizer: string, symbols: string[] }
function Vocabulary:to_table()
  local symbols = {}
  for i, symbol in ipairs(self.symbols) do symbols[i] = symbol end
  return { tokenizer = self.tokenizer, symbols = symbols }
end

--- A vocabulary from what `to_table` gave.
---@param saved { tokenizer: string, symbols: string[] }
---@return icot.Vocabulary
---raises an error when it isn't a saved vocabulary
function vocabulary.from_table(saved)
  local symbols = type(saved) == 'table' and saved.symbols
  if type(symbols) ~= 'table' or symbols[1] ~= vocabulary.EOS or symbols[2] ~= vocabulary.SEPARATOR then
    errors.raise("vocabulary: expected a table of tokenizer and symbols, the first two of them '%s' and '%s'",
      vocabulary.EOS, vocabulary.SEPARATOR)
  end
  return vocabulary.new(saved.tokenizer, others_of(symbols))
end

return vocabulary
