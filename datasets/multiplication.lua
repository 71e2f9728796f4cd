--- Multiplication of two n-digit numbers, worked out the way it is done on paper.
---
--- Digits are separated by spaces and reversed, least first. The CoT has the partial products,
--- `n + 1 + i` digits each with `i` leading zeros for the shift, and after each but the first and the
--- last the running sum in parentheses (Deng, Choi, Shieber 2024):
---
---   9 1 * 4 3||6 7 0 + 0 7 5 0 #### 6 4 6 0          19 * 34 = 76 + 570 = 646
---
--- A reasoning step is a partial product with the running sum after it and the `+` before the next one, so
--- that what is left after removing whole steps from the left begins with a partial product:
---
---   [ 1 7 4 3 3 + ] [ 0 6 7 8 4 1 ( 1 3 2 2 8 1 ) + ] [ 0 0 7 5 1 1 1 ( 1 3 9 7 9 2 1 ) + ] [ 0 0 0 7 5 1 1 1 ]
---
--- Operands have exactly n digits. The splits share no pair of operands, where a * b and b * a count
--- as the same pair; no split has an example twice. The examples of a split depend on the seed and
--- on the splits drawn before it: test first, then valid, then train. So the held-out examples do not
--- depend on how many are trained on, and a longer train split begins with the shorter one.
---
--- `sparse` adds that many examples with more zeros among their digits to the train split; these come
--- with repetition (datasets.multiplication.sparse tells what they are good for).
local checker = require 'datasets.multiplication.checker'
local corpus = require 'icot.corpus'
local dataset = require 'icot.dataset'
local pairs_of = require 'datasets.multiplication.pairs'
local sparse = require 'datasets.multiplication.sparse'
local tokenizer = require 'icot.tokenizer'
local vocabulary = require 'icot.vocabulary'
local writer = require 'datasets.multiplication.writer'

local multiplication = {}

local SYMBOLS = { '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '+', '(', ')' }
local MOST = 20000000 -- examples in a split; the pairs drawn are remembered, 40 bytes each

multiplication.options = {
  digits = { type = 'integer', min = 2, max = 20, default = 4, doc = 'digits of each operand' },
  train = { type = 'integer', min = 0, max = MOST, default = 808000, doc = 'training examples' },
  valid = { type = 'integer', min = 0, max = MOST, default = 1000, doc = 'validation examples' },
  test = { type = 'integer', min = 0, max = MOST, default = 1000, doc = 'test examples' },
  sparse = { type = 'integer', min = 0, max = MOST, default = 0, doc = 'training examples with many zeros, on top' },
  zeros = { type = 'number', min = 0, max = 1, default = 0.4, doc = 'of those: share of digits that become zero' },
  seed = { type = 'integer', min = 0, default = 1, doc = 'of the operands' },
  tokenizer = { type = 'string',
    doc = "a folder with GPT-2's vocab.json and merges.txt; default: that of model.pretrained, or symbols of its own" },
}

multiplication.check = checker.check

-- An empty corpus for `count` examples, and what writes the next one into it.
local function new_corpus(symbols, digits, count)
  local page = writer.new(symbols, digits)
  local written = corpus.new(symbols, count, count * (page.n_question + page.n_cot + page.n_answer))
  return written, function(...)
    page:write(...)
    written:append_arrays(page.question, page.n_question, page.cot, page.n_cot, page.answer, page.n_answer)
    written:mark_step_arrays(page.ends, page.n_ends)
  end
end

-- The examples of a split, or none.
local function write_split(split, symbols, options, drawn, is_wanted)
  local range, n_sparse = drawn.ranges[split], split == 'train' and options.sparse or 0
  if not is_wanted then return corpus.new(symbols) end
  local written, write = new_corpus(symbols, options.digits, range.last - range.first + n_sparse)
  for i = range.first, range.last - 1 do write(drawn:operands(i)) end
  sparse.draw(options.digits, options.seed, options.zeros, n_sparse, drawn, write)
  return written
end

--- Makes up the examples.
---@param options table values of `multiplication.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error when there are fewer pairs of operands than asked for
function multiplication.load(options, wanted)
  local symbols = options.tokenizer and tokenizer.load(options.tokenizer) or vocabulary.new('word', SYMBOLS)
  local counts = { test = options.test, valid = options.valid, train = options.train }
  if wanted == 'test' then counts.valid = 0 end
  if wanted and wanted ~= 'train' then counts.train = 0 end

  local drawn = pairs_of.draw(options.digits, options.seed, counts)
  local parts = { task = 'multiplication', vocabulary = symbols }
  for _, split in ipairs(dataset.splits) do
    parts[split] = write_split(split, symbols, options, drawn, (wanted or split) == split)
  end
  return dataset.assemble(parts)
end

return multiplication
