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
--- `digits` is the length of both operands, or a list of the first's and the second's; with `digits_from` each operand
--- has any length from there up, each equally probable. The splits share no pair of operands, where a * b and b * a
--- count as the same pair; no split has an example twice. The examples of a split depend on the seed and
--- on the splits drawn before it: test first, then valid, carries, train. So the held-out examples do not
--- depend on how many are trained on, and a longer train split begins with the shorter one.
---
--- `ood` asks for splits out of the distribution of the training examples, which are evaluated at the end of a run:
---   longer    operands of other lengths: { digits = 6 }, or also digits_from; no pair can be a trained one
---   carries   the lengths that are trained on, but only pairs with a long carry chain when the partial products are
---             added (datasets.arithmetic.carries): { chain = 4 }, one pair in 800 of 4 x 4 digits. Such pairs are
---             among the training examples too, as rarely as chance has it, but none of these.
--- Each takes `examples`, 1000 by default.
---
--- An evaluation tells examples apart by their longest carry chain.
---
--- `sparse` adds that many examples with more zeros among their digits to the train split; these come
--- with repetition (datasets.multiplication.sparse tells what they are good for).
local checker = require 'datasets.multiplication.checker'
local corpus = require 'icot.text.corpus'
local dataset = require 'icot.data.dataset'
local errors = require 'icot.base.errors'
local model_file = require 'icot.model.model_file'
local pairs_of = require 'datasets.multiplication.pairs'
local quantities = require 'datasets.multiplication.quantities'
local schoolbook = require 'datasets.multiplication.schoolbook'
local shape = require 'datasets.multiplication.shape'
local sparse = require 'datasets.multiplication.sparse'
local steps = require 'icot.data.steps'
local vocabulary = require 'icot.text.vocabulary'
local writer = require 'datasets.multiplication.writer'

local multiplication = {}

local SYMBOLS = { '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '+', '(', ')' }
local MOST = 20000000 -- examples in a split; the pairs drawn are remembered, 40 bytes each

local OOD_EXAMPLES = 1000 -- not the option's default: that would be in the configuration of every recipe

local DIGITS_DOC = 'digits of each operand, or a list: of the first and the second'
local DIGITS_FROM_DOC = 'fewest digits of each operand, for mixed lengths; default: as digits'

local lengths = { type = 'integer', min = 2, max = 20 }

local function digits(doc, default)
  return { type = { 'integer', 'list' }, min = 2, max = 20, each = lengths, default = default, doc = doc }
end

local ood_examples = { type = 'integer', min = 1, max = MOST, doc = 'number of examples in the split; default: 1000' }
local ood = {
  longer = { type = 'table', doc = 'a split with operands of other lengths', fields = {
    digits = digits(DIGITS_DOC), digits_from = digits(DIGITS_FROM_DOC), examples = ood_examples,
  } },
  carries = { type = 'table', doc = 'a split with long carry chains', fields = {
    chain = { type = 'integer', min = 1, max = 20, doc = 'least length of the longest carry chain' },
    examples = ood_examples,
  } },
}

multiplication.options = {
  digits = digits(DIGITS_DOC, 4),
  digits_from = digits(DIGITS_FROM_DOC),
  ood = { type = 'table', fields = ood, doc = 'splits out of distribution, evaluated at the end of a run' },
  train = { type = 'integer', min = 0, max = MOST, default = 808000, doc = 'number of training examples' },
  valid = { type = 'integer', min = 0, max = MOST, default = 1000, doc = 'number of validation examples' },
  test = { type = 'integer', min = 0, max = MOST, default = 1000, doc = 'number of test examples' },
  sparse = {
    type = 'integer', min = 0, max = MOST, default = 0,
    doc = 'number of additional training examples with many zeros',
  },
  zeros = { type = 'number', min = 0, max = 1, default = 0.4, doc = 'share of the digits of those that become zero' },
  seed = { type = 'integer', min = 0, default = 1, doc = 'seed of the operands' },
  tokenizer = { type = 'string',
    doc = 'folder of a model whose vocabulary is used; default: that of model.pretrained, or symbols of its own' },
}

multiplication.check = checker.check
multiplication.quantities = quantities.of

-- ---- Groups of examples -------------------------------------------------------------------------

-- The longest carry chain of a question when its partial products are added.
local function carry_chain(question)
  local a, b = {}, {}
  local times = question:find('*', 1, true)
  for digit in question:sub(1, times - 1):gmatch('%d') do a[#a + 1] = digit end
  for digit in question:sub(times + 1):gmatch('%d') do b[#b + 1] = digit end
  return schoolbook.longest_chain(schoolbook.array(a), #a, schoolbook.array(b), #b)
end

-- ---- Splits out of distribution -----------------------------------------------------------------

-- What `options.ood` asks for: the number of examples by the name of the split, and their names in order.
local function ood_counts(options, trained)
  local longer, chains = options.ood.longer, options.ood.carries
  local counts, names = {}, {}
  local function add(name, given, leading)
    if not given[leading] and next(given) then
      errors.raise('multiplication: ood.%s: %s is missing', name, leading)
    elseif given[leading] then
      counts[name], names[#names + 1] = given.examples or OOD_EXAMPLES, name
    end
  end
  add('longer', longer, 'digits')
  add('carries', chains, 'chain')
  local longer_shape = counts.longer and shape.of(longer.digits, longer.digits_from)
  if longer_shape and longer_shape:meets(trained) then
    errors.raise('multiplication: ood.longer: %s has pairs that are trained on, too (%s)', longer_shape.text,
                 trained.text)
  end
  return counts, names, longer_shape
end

-- ---- The examples -------------------------------------------------------------------------------

-- Writes examples of any lengths into a corpus.
local function writer_into(written)
  local pages = {}
  local function page_for(n, m)
    local key = n * 100 + m
    pages[key] = pages[key] or writer.new(written.vocabulary, n, m)
    return pages[key]
  end
  return function(a_high, a_low, b_high, b_low)
    local page = page_for(schoolbook.length(a_high, a_low), schoolbook.length(b_high, b_low))
    page:write(a_high, a_low, b_high, b_low)
    written:append_arrays(page.question, page.n_question, page.cot, page.n_cot, page.answer, page.n_answer)
    written:mark_step_arrays(page.ends, page.n_ends)
  end
end

-- An empty corpus for `count` examples of a shape. Where lengths are mixed, room for tokens is made as it is needed.
local function new_corpus(symbols, of, count)
  if of.is_mixed then return corpus.new(symbols, count) end
  local page = writer.new(symbols, of.a.to, of.b.to)
  return corpus.new(symbols, count, count * (page.n_question + page.n_cot + page.n_answer))
end

-- The examples of a split, or none.
local function write_split(split, symbols, options, of, drawn, is_wanted)
  local range, n_sparse = drawn.ranges[split], split == 'train' and options.sparse or 0
  if not is_wanted then return corpus.new(symbols) end
  local written = new_corpus(symbols, of, range.last - range.first + n_sparse)
  local write = writer_into(written)
  for i = range.first, range.last - 1 do write(drawn:operands(i)) end
  sparse.draw(of, options.seed, options.zeros, n_sparse, drawn, write)
  return written
end

-- How many pairs to draw for each split: none for those drawn after the only one that is needed.
local function counts_of(options, carries, wanted)
  local counts = { test = options.test, valid = options.valid, carries = carries or 0, train = options.train }
  for _, split in ipairs { 'train', 'carries', 'valid' } do
    if wanted == split or not wanted then break end
    counts[split] = 0
  end
  return counts
end

--- Makes up the examples.
---@param options table values of `multiplication.options`
---@param wanted? 'train'|'valid'|'test'|'longer'|'carries' the only split that is needed
---@return icot.Dataset
---raises an error when there are fewer pairs of operands than asked for
function multiplication.load(options, wanted)
  local symbols = options.tokenizer and model_file.words(options.tokenizer) or vocabulary.new('word', SYMBOLS)
  local trained = shape.of(options.digits, options.digits_from)
  local ood_of, names, longer = ood_counts(options, trained)
  local counts = counts_of(options, ood_of.carries, wanted)
  local drawn = pairs_of.draw(trained, options.seed, counts, options.ood.carries.chain)

  local parts = {
    task = 'multiplication', vocabulary = symbols, ood = names, groups = carry_chain,
    grouped_by = 'longest carry chain',
  }
  local function write(split, of, from)
    parts[split] = write_split(split, symbols, options, of, from, (wanted or split) == split)
  end
  for _, split in ipairs(dataset.splits) do write(split, trained, drawn) end
  if ood_of.carries then write('carries', trained, drawn) end
  if longer then write('longer', longer, pairs_of.draw_longer(longer, options.seed, ood_of.longer)) end
  parts.steps_of = steps.ended_by('+', symbols, 'multiplication') -- the writer has seen that it is one token
  return dataset.assemble(parts)
end

return multiplication
