--- Datasets of text files, one `question||cot #### answer` per line; the CoT may be empty. What exactly a line may
--- look like: icot.text.example_file.
---
--- Tokenizers: 'word' and 'character' (icot.text.vocabulary) take every symbol of all files given, sorted, so that the
--- vocabulary is the same however the lines are ordered; anything else is a folder, with the vocabulary of a model of
--- icot's, or with a byte-level BPE (icot.text.tokenizer) such as that of a pretrained GPT-2.
local ffi = require 'ffi'
local corpus = require 'icot.text.corpus'
local counted = require 'icot.base.counted'
local dataset = require 'icot.data.dataset'
local errors = require 'icot.base.errors'
local example_file = require 'icot.text.example_file'
local model_file = require 'icot.model.model_file'
local sequence = require 'icot.text.sequence'
local vocabulary = require 'icot.text.vocabulary'

local text_files = {}

--- Options that every such dataset has.
text_files.options = {
  train = { type = 'string', doc = 'path of the training examples' },
  valid = { type = 'string', doc = 'path of the validation examples' },
  test = { type = 'string', doc = 'path of the test examples' },
  tokenizer = { type = 'string', default = 'word',
    doc = "'word': symbols between single spaces; 'character'; or the folder of a model whose vocabulary is used" },
  max_length = { type = 'integer', min = 1,
    doc = 'most tokens of an example, four separators included; default: any length' },
}

-- ---- The vocabulary -----------------------------------------------------------------------------

local made_of_symbols = { word = true, character = true }

local function collect_symbols(options)
  local collector = vocabulary.collector(options.tokenizer)
  for _, split in ipairs(dataset.splits) do
    if options[split] then
      for _, question, cot, answer in example_file.examples(options[split], 'dataset.' .. split) do
        collector:add(question)
        collector:add(cot)
        collector:add(answer)
      end
    end
  end
  return collector:finish()
end

local function vocabulary_of(options)
  return made_of_symbols[options.tokenizer] and collect_symbols(options) or model_file.words(options.tokenizer)
end

-- An array of int32 that grows with the texts put into it.
local function new_buffer()
  return { ids = ffi.new('int32_t[?]', 64), capacity = 64, count = 0 }
end

local function encode(symbols, part, buffer)
  if #part + 1 > buffer.capacity then
    buffer.capacity = 2 * #part + 1
    buffer.ids = ffi.new('int32_t[?]', buffer.capacity)
  end
  buffer.count = symbols:encode_part_into(part, buffer.ids)
end

--- Counts the tokens of a part of an example.
---@param name string 'word', 'character' or a folder
---@return fun(text: string): integer
---raises an error when the folder has none
function text_files.counter(name)
  if made_of_symbols[name] then
    local collector = vocabulary.collector(name)
    return function(text) return collector:add(text) end
  end
  local symbols, buffer = model_file.words(name), new_buffer()
  return function(text)
    encode(symbols, text, buffer)
    return buffer.count
  end
end

-- ---- The examples -------------------------------------------------------------------------------

-- Marks the reasoning steps of the example added last, if there is a way to find them.
local function mark_steps(read, steps_of, cot, encoded)
  local ends = steps_of and steps_of(cot, encoded)
  if ends then read:mark_steps(ends) end
end

-- The symbols of a part; a strange one is told with its place.
local function encode_line(symbols, path, number, parts, buffers)
  for i, part in ipairs(parts) do
    local ok, problem = pcall(encode, symbols, part, buffers[i])
    if not ok then
      if not errors.is_user_error(problem) then error(problem, 0) end
      errors.raise('%s: line %d: %s', path, number, problem.message)
    end
  end
end

---@param rule { max_length?: integer, leave_out?: boolean } what becomes of a longer example: an error, or left out
---@return icot.Corpus read, integer left_out
local function read_corpus(path, where, symbols, rule, steps_of)
  local read, q, c, a = corpus.new(symbols), new_buffer(), new_buffer(), new_buffer()
  local examples, left_out = 0, 0
  for number, question, cot, answer in example_file.examples(path, where) do
    examples = number
    encode_line(symbols, path, number, { question, cot, answer }, { q, c, a })
    local length = sequence.length(q.count, c.count, a.count)
    if not rule.max_length or length <= rule.max_length then
      read:append_arrays(q.ids, q.count, c.ids, c.count, a.ids, a.count)
      mark_steps(read, steps_of, cot, c)
    elseif rule.leave_out then
      left_out = left_out + 1
    else
      errors.raise('%s: line %d: has %d tokens, separators included, but max_length is %d', path, number, length,
        rule.max_length)
    end
  end
  if examples == 0 then errors.raise('%s: %s is empty, expected lines `question||cot #### answer`', where, path) end
  if left_out == examples then
    errors.raise('%s: %s has no example of at most %d tokens; raise max_length', where, path, rule.max_length)
  end
  return read, left_out
end

--- Reads a file of examples.
---@param path string
---@param where string what named the file, at the start of an error
---@param symbols icot.Vocabulary|icot.Tokenizer
---@param steps_of? icot.StepsOf where the steps of a CoT end, as a dataset has it
---@return icot.Corpus
---raises an error for a missing, empty or malformed file, with the line's number, and for a symbol that is not known
function text_files.read(path, where, symbols, steps_of)
  return (read_corpus(path, where, symbols, {}, steps_of))
end

--- Reads the files of a task.
---@param task string its name
---@param options table values of `text_files.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@param rules? table<string, { max_length?: integer, leave_out?: boolean }> by split; by default no split may have
---   a longer example than options.max_length
---@param step_finder? fun(symbols: icot.Vocabulary|icot.Tokenizer): icot.StepsOf makes, of the vocabulary, what finds
---   where the steps of a CoT end; default: no steps are marked
---@return icot.Dataset
---raises an error for a missing, empty or malformed file, with the line's number
function text_files.load(task, options, wanted, rules, step_finder)
  if not (options.train or options.valid or options.test) then
    errors.raise('%s: no file given, expected at least one of train, valid and test', task)
  end
  local symbols = vocabulary_of(options)
  local steps_of = step_finder and step_finder(symbols)
  local parts = { task = task, vocabulary = symbols, notes = {}, steps_of = steps_of }
  for _, split in ipairs(dataset.splits) do
    local path, rule = options[split], rules and rules[split] or { max_length = options.max_length }
    if path and (wanted or split) == split then
      local left_out
      parts[split], left_out = read_corpus(path, 'dataset.' .. split, symbols, rule, steps_of)
      if left_out > 0 then
        table.insert(parts.notes, ('%s: left out: %s with more than %s'):format(
          split, counted.part_of(left_out, left_out + parts[split]:size(), 'example'),
          counted.of(rule.max_length, 'token')))
      end
    else
      parts[split] = corpus.new(symbols)
    end
  end
  return dataset.assemble(parts)
end

return text_files
