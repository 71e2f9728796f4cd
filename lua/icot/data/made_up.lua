--- Datasets that are made up: questions drawn at random, none twice, none in two splits.
---
--- The examples of a split depend on the seed and on the splits drawn before it: test first, then valid, then train.
--- So the held-out examples do not depend on how many are trained on, and a longer train split begins with the shorter.
local ffi = require 'ffi'
local core = require 'icot.engine.core'
local corpus = require 'icot.text.corpus'
local dataset = require 'icot.data.dataset'
local errors = require 'icot.base.errors'
local random = require 'icot.engine.random'
local values = require 'icot.base.values'

local made_up = {}

local BLOCK = 1024 -- questions drawn per call into the core
local PATIENCE = 64 -- draws for each question known: that many miss the only new one with a probability of e^-64
local MOST = 2000000 -- examples in a split; the questions drawn are remembered

--- Options that every such dataset has.
---@param train integer how many training examples by default
---@return icot.Fields
function made_up.options(train)
  return {
    train = { type = 'integer', min = 0, max = MOST, default = train, doc = 'number of training examples' },
    valid = { type = 'integer', min = 0, max = MOST, default = 1000, doc = 'number of validation examples' },
    test = { type = 'integer', min = 0, max = MOST, default = 1000, doc = 'number of test examples' },
    seed = { type = 'integer', min = 0, default = 1, doc = 'seed of the examples' },
  }
end

--- Uniform numbers in [0, 1) for examples that are made up.
---@param seed integer
---@param part integer what of the dataset they are for; no other part has the same numbers
---@param count integer how many at a time
---@return fun(block: integer): ffi.cdata* numbers double[count], overwritten by the next call; block: 0, 1, …
function made_up.uniforms(seed, part, count)
  local numbers = ffi.new('double[?]', count)
  return function(block)
    core.C.icot_random_uniform(random.key(seed, 'data', part * 2 ^ 32 + block), count, numbers)
    return numbers
  end
end

-- Part of each split in the key of its random numbers. These never change: they are part of what a seed means.
local parts_of = { test = 1, valid = 2, train = 3 }

---@class icot.MadeUp how a task makes up its examples; a part of one is a list of symbols
---@field task string
---@field vocabulary icot.Vocabulary
---@field options table the values of `made_up.options`
---@field limits string the options that limit how many questions there are, for a message: 'bits=8'
---@field questions number how many there are
---@field numbers integer uniform numbers that a question is made of
---@field question fun(uniform: ffi.cdata*, at: integer): string[] from uniform[at] … ; each question equally probable
---@field solve fun(question: string[]): string[], string[], integer[] its CoT, its answer, and where the steps of the
---   CoT end
---@field steps_of? icot.StepsOf the last of these, of a CoT that comes from a file
---@field groups? fun(question: string, answer: string): string|number as in icot.Dataset
---@field grouped_by? string

local function ids_of(plan, symbols)
  local known, ids = plan.vocabulary.ids, {}
  for i, symbol in ipairs(symbols) do
    ids[i] = known[symbol] or errors.raise('%s: the symbol %s of an example is not in its vocabulary', plan.task,
                                           values.show(symbol))
  end
  return ids
end

local function append(made, plan, question)
  local cot, answer, ends = plan.solve(question)
  made:append(ids_of(plan, question), ids_of(plan, cot), ids_of(plan, answer))
  made:mark_steps(ends)
end

local function raise_exhausted(plan, known)
  errors.raise('%s: %s: only %d different questions are ever drawn, though its `questions` says that %.0f exist',
               plan.task, plan.limits, known, plan.questions)
end

-- Draws questions until `count` are new, and gives each to `accept`. known: which there were before, and their number.
local function draw(plan, split, count, known, accept)
  local uniforms = made_up.uniforms(plan.options.seed, parts_of[split], plan.numbers * BLOCK)
  local wanted, block, in_vain = known.count + count, 0, 0
  while known.count < wanted do
    local uniform = uniforms(block)
    block = block + 1
    for i = 0, BLOCK - 1 do
      if known.count == wanted then break end
      local question = plan.question(uniform, i * plan.numbers)
      local key = table.concat(question, ' ')
      in_vain = in_vain + 1
      if not known.questions[key] then
        known.questions[key], known.count, in_vain = true, known.count + 1, 0
        accept(question)
      end
    end
    if in_vain > PATIENCE * math.max(known.count + 1, BLOCK) then raise_exhausted(plan, known.count) end
  end
end

local function check_options(plan)
  for _, name in ipairs { 'test', 'valid', 'train', 'seed' } do
    if type(plan.options[name]) ~= 'number' then
      errors.raise('%s: its options have no %s: they must have all that made_up.options gives', plan.task, name)
    end
  end
end

local function check_counts(plan, counts)
  local asked = counts.test + counts.valid + counts.train
  if asked <= plan.questions then return end
  errors.raise('%s: %s: test=%d, valid=%d and train=%d are %d questions, only %.0f exist', plan.task, plan.limits,
               counts.test, counts.valid, counts.train, asked, plan.questions)
end

--- Makes up the three splits.
---@param plan icot.MadeUp
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error when more questions are asked for than there are
function made_up.load(plan, wanted)
  check_options(plan)
  local known = { questions = {}, count = 0 }
  local counts = { test = plan.options.test, valid = plan.options.valid, train = plan.options.train }
  if wanted == 'test' then counts.valid = 0 end
  if wanted and wanted ~= 'train' then counts.train = 0 end
  check_counts(plan, counts)
  local parts = {
    task = plan.task, vocabulary = plan.vocabulary, steps_of = plan.steps_of, groups = plan.groups,
    grouped_by = plan.grouped_by,
  }
  for _, split in ipairs { 'test', 'valid', 'train' } do
    local made = corpus.new(plan.vocabulary)
    local is_wanted = (wanted or split) == split
    draw(plan, split, counts[split], known, function(question)
      if is_wanted then append(made, plan, question) end
    end)
    parts[split] = made
  end
  return dataset.assemble(parts)
end

return made_up
