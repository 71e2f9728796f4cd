--- Multiplication of two n-digit numbers, worked out the way it is done on paper.
---
--- Digits are separated by spaces and reversed, least first. The CoT has the partial products,
--- `n + 1 + i` digits each with `i` leading zeros for the shift, and after each but the first and the
--- last the running sum in parentheses (Deng, Choi, Shieber 2024):
---
---   9 1 * 4 3||6 7 0 + 0 7 5 0 #### 6 4 6 0          19 * 34 = 76 + 570 = 646
---
--- Operands have exactly n digits. The splits share no pair of operands, where a * b and b * a count
--- as the same pair; no split has an example twice. The examples of a split depend on the seed and
--- on the splits drawn before it: test first, then valid, then train. So the held-out examples do not
--- depend on how many are trained on, and a longer train split begins with the shorter one.
local checker = require 'datasets.multiplication.checker'
local corpus = require 'icot.corpus'
local dataset = require 'icot.dataset'
local pairs_of = require 'datasets.multiplication.pairs'
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
  seed = { type = 'integer', min = 0, default = 1, doc = 'of the operands' },
  tokenizer = { type = 'string',
    doc = "a folder with GPT-2's vocab.json and merges.txt; default: that of model.pretrained, or symbols of its own" },
}

multiplication.check = checker.check

-- The examples of pairs first … last-1.
local function write_corpus(symbols, digits, drawn, first, last)
  local page = writer.new(symbols, digits)
  local count = last - first
  local written = corpus.new(symbols, count, count * (page.n_question + page.n_cot + page.n_answer))
  for i = first, last - 1 do
    page:write(drawn:operands(i))
    written:append_arrays(page.question, page.n_question, page.cot, page.n_cot, page.answer, page.n_answer)
  end
  return written
end

--- Makes up the examples.
---@param options { digits: integer, train: integer, valid: integer, test: integer, seed: integer, tokenizer?: string }
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
    local range = drawn.ranges[split]
    local last = (wanted or split) == split and range.last or range.first
    parts[split] = write_corpus(symbols, options.digits, drawn, range.first, last)
  end
  return dataset.assemble(parts)
end

return multiplication
