--- Datasets that are made up: questions drawn at random, none twice, none in two splits.
---
--- The examples of a split depend on the seed and on the splits drawn before it: test first, then valid, then train.
--- So the held-out examples do not depend on how many are trained on, and a longer train split begins with the shorter.
local ffi = require 'ffi'
local core = require 'icot.engine.core'
local corpus = require 'icot.text.corpus'
local dataset = require 'icot.data.dataset'
local errors = require 'icot.base.errors'
local interrupt = require 'icot.engine.interrupt'
local options = require 'icot.base.options'
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

-- ---- The plan -----------------------------------------------------------------------------------

local of_a_plan = {
  task = { type = 'string', required = true }, vocabulary = { type = 'table', required = true },
  options = { type = 'table', required = true }, limits = { type = 'string', required = true },
  questions = { type = 'number', min = 0, also = { math.huge }, required = true },
  numbers = { type = 'integer', min = 0, required = true }, question = { type = 'function', required = true },
  solve = { type = 'function', required = true }, steps_of = { type = 'function' }, groups = { type = 'function' },
  grouped_by = { type = 'string' },
}

-- Whoever writes a task may have forgotten a part of it.
local function check_plan(plan)
  local shown = {} -- tables need not be looked into
  for name, value in pairs(plan) do shown[name] = type(value) == 'table' and {} or value end
  options.check(of_a_plan, shown, ('datasets/%s.lua: made_up.load'):format(tostring(plan.task)))
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

-- ---- Examples -----------------------------------------------------------------------------------

local function id_of(plan, symbol)
  local id = plan.vocabulary.ids[symbol]
  if id then return id end
  errors.raise('the symbol %s is not in the vocabulary%s', values.show(symbol),
               type(symbol) ~= 'string' and '; symbols are strings' or '')
end

-- part: 'question', 'CoT' or 'answer'
local function ids_of(plan, part, symbols)
  if type(symbols) ~= 'table' then
    errors.raise('the %s is %s, expected a list of symbols', part, values.show(symbols))
  end
  local ids = {}
  for i, symbol in ipairs(symbols) do ids[i] = id_of(plan, symbol) end
  return ids
end

local function append(made, plan, question)
  local cot, answer, ends = plan.solve(question)
  local ok, problem = pcall(function()
    made:append(ids_of(plan, 'question', question), ids_of(plan, 'CoT', cot), ids_of(plan, 'answer', answer))
    if ends then made:mark_steps(ends) end
  end)
  if ok then return end
  if not errors.is_user_error(problem) then error(problem, 0) end
  errors.raise("%s: the example with the question '%s': %s", plan.task, table.concat(question, ' '), problem.message)
end

-- ---- Drawing ------------------------------------------------------------------------------------

-- The numbers of one question; reading others, which belong to the next one, is an error.
local function own_numbers(plan, uniform, at)
  return setmetatable({}, { __index = function(_, i)
    if i >= at and i < at + plan.numbers then return uniform[i] end
    errors.raise('%s: question read uniform[at + %s], but `numbers` says that it takes %d, from uniform[at] on',
                 plan.task, tostring(i - at), plan.numbers)
  end })
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
    interrupt.check()
    for i = 0, BLOCK - 1 do
      if known.count == wanted then break end
      local at = i * plan.numbers
      local question = plan.question(block == 0 and own_numbers(plan, uniform, at) or uniform, at)
      if type(question) ~= 'table' then
        errors.raise('%s: question returned %s, expected a list of symbols', plan.task, values.show(question))
      end
      local key = table.concat(question, ' ')
      in_vain = in_vain + 1
      if not known.questions[key] then
        known.questions[key], known.count, in_vain = true, known.count + 1, 0
        accept(question)
      end
    end
    block = block + 1
    if in_vain > PATIENCE * math.max(known.count + 1, BLOCK) then raise_exhausted(plan, known.count) end
  end
end

--- Makes up the three splits.
---@param plan icot.MadeUp
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error when more questions are asked for than there are
function made_up.load(plan, wanted)
  check_plan(plan)
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
