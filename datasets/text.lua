--- Examples from text files, one `question||cot #### answer` per line; the CoT may be empty. What
--- exactly a line may look like: icot.example_file.
---
--- The vocabulary holds every symbol of all files given, sorted, so that it is the same however the
--- lines are ordered. By default a symbol is a word between single spaces: right for files that are
--- written as symbols, such as `1 2 * 3 4||…`. Prose (GSM8K) wants tokenizer = 'character'.
local ffi = require 'ffi'
local corpus = require 'icot.corpus'
local dataset = require 'icot.dataset'
local errors = require 'icot.errors'
local example_file = require 'icot.example_file'
local vocabulary = require 'icot.vocabulary'

local text = {}

text.options = {
  train = { type = 'string', doc = 'file of training examples' },
  valid = { type = 'string', doc = 'file of validation examples' },
  test = { type = 'string', doc = 'file of test examples' },
  tokenizer = { type = 'string', one_of = { 'word', 'character' }, default = 'word',
    doc = 'symbols are words between single spaces, or UTF-8 characters' },
  max_length = { type = 'integer', min = 1,
    doc = 'longest sequence allowed, in tokens with the four separators; any length by default' },
}

-- First pass over the file of a split: its symbols go to the collector, its size comes back.
local function measure(split, path, collector, max_length)
  local where, size = 'dataset.' .. split, { examples = 0, tokens = 0 }
  for number, question, cot, answer in example_file.examples(path, where) do
    local tokens = collector:add(question) + collector:add(cot) + collector:add(answer)
    local length = tokens + dataset.SEPARATORS
    if max_length and length > max_length then
      errors.raise('%s: line %d: %d tokens with separators, but max_length is %d', path, number, length, max_length)
    end
    size.examples, size.tokens = size.examples + 1, size.tokens + tokens
  end
  if size.examples == 0 then
    errors.raise('%s: %s is empty, expected lines `question||cot #### answer`', where, path)
  end
  return size
end

-- Arrays of int32 that grow with the texts put into them.
local function new_buffer()
  return { ids = ffi.new('int32_t[?]', 64), capacity = 64 }
end

local function encode(symbols, part, buffer)
  if #part + 1 > buffer.capacity then
    buffer.capacity = 2 * #part + 1
    buffer.ids = ffi.new('int32_t[?]', buffer.capacity)
  end
  return symbols:encode_into(part, buffer.ids)
end

-- Second pass: the examples as token ids.
local function read_corpus(path, symbols, size)
  local read = corpus.new(symbols, size.examples, size.tokens)
  local q, c, a = new_buffer(), new_buffer(), new_buffer()
  for _, question, cot, answer in example_file.examples(path) do
    local n_question, n_cot = encode(symbols, question, q), encode(symbols, cot, c)
    local n_answer = encode(symbols, answer, a)
    read:append_arrays(q.ids, n_question, c.ids, n_cot, a.ids, n_answer)
  end
  return read
end

--- Reads the files.
---@param options { train?: string, valid?: string, test?: string, tokenizer: string, max_length?: integer }
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error for a missing, empty or malformed file, with the line's number
function text.load(options, wanted)
  local collector, sizes = vocabulary.collector(options.tokenizer), {}
  for _, split in ipairs(dataset.splits) do
    if options[split] then sizes[split] = measure(split, options[split], collector, options.max_length) end
  end
  if not next(sizes) then errors.raise('text: no file given, expected at least one of train, valid and test') end

  local symbols = collector:finish()
  local parts = { task = 'text', vocabulary = symbols }
  for _, split in ipairs(dataset.splits) do
    local needed = sizes[split] and (wanted or split) == split
    parts[split] = needed and read_corpus(options[split], symbols, sizes[split]) or corpus.new(symbols)
  end
  return dataset.assemble(parts)
end

return text
