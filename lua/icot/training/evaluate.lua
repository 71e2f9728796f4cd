--- Evaluation: how well a model answers unseen questions with the CoT that the schedule has left.
---
--- Two measurements: greedy decoding from the question alone (accuracy), and one teacher-forced pass (loss,
--- token accuracy).
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
local deferred = require 'icot.engine.deferred'
local interrupt = require 'icot.engine.interrupt'
local names = require 'icot.base.names'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local writing = require 'icot.training.writing'

local evaluate = {}

---@class icot.Evaluation
---@field accuracy number share of examples whose decoded answer equals the target exactly (or as data.same_answer says)
---@field token_accuracy number share of target tokens hit, teacher-forced
---@field loss number mean over the target tokens, teacher-forced
---@field positions number[] accuracy per answer position; NaN where no answer is that long
---@field groups { name: string, examples: integer, accuracy: number }[] accuracy per group of examples, if the dataset
---   has groups, in the order of their names (numbers by size)
---@field examples integer
---@field examples_per_second number of decoding
---@field tokens_generated integer written by the model; a thought counts as one, a pause that it was given does not
---@field cut_off integer examples that were not finished after as many tokens as there should be at most
---@field samples icot.Sample[]

---@class icot.Sample: icot.Written
---@field question string
---@field target string
---@field is_right boolean

---@class icot.EvaluationWork what is to be evaluated
---@field model icot.Model
---@field data icot.Dataset
---@field corpus icot.Corpus of the split
---@field examples integer of these, the first
---@field batch integer examples at a time
---@field samples integer predictions to keep
---@field removed number
---@field removing icot.Removal
---@field longest_cot integer of the split, in tokens

-- ---- Answers ------------------------------------------------------------------------------------

--- Compares one answer with its target, counting position by position.
---@return boolean exact whether they are the same token by token
local function score(answer, target, hits, counts)
  local exact = answer ~= nil and #answer == #target
  for j = 1, #target do
    local hit = answer ~= nil and answer[j] == target[j]
    exact = exact and hit
    hits[j], counts[j] = (hits[j] or 0) + (hit and 1 or 0), (counts[j] or 0) + 1
  end
  return exact
end

--- Whether the dataset takes an answer that differs from its target for the same, as 1,000 and 1000.
local function same_answer(data, answer, target)
  if not data.same_answer or not answer then return false end
  return data.same_answer(writing.show(answer, data.vocabulary), data.vocabulary:decode_part(target))
end

--- Notes in which group of its dataset an example is, and whether it was answered.
local function count_group(data, example, is_right, groups)
  if not data.groups then return end
  local vocabulary = data.vocabulary
  local key = data.groups(vocabulary:decode_part(example.question), vocabulary:decode_part(example.answer))
  local group = groups[key] or { examples = 0, right = 0 }
  group.examples, group.right = group.examples + 1, group.right + (is_right and 1 or 0)
  groups[key] = group
end

--- The groups in the order of their names.
local function in_order(groups)
  local list = {}
  for i, key in ipairs(names.after_numbers(groups)) do
    local group = groups[key]
    list[i] = { name = tostring(key), examples = group.examples, accuracy = group.right / group.examples }
  end
  return list
end

-- What is counted of all answers.
local function new_tally()
  return { correct = 0, generated = 0, cut_off = 0, hits = {}, counts = {}, groups = {}, samples = {} }
end

-- Takes in what was written for an example.
local function take(tally, work, example, written, thoughts)
  local data, vocabulary = work.data, work.data.vocabulary
  local answer, is_finished = writing.answer_in(written, vocabulary), writing.is_finished(written, vocabulary)
  local is_exact = score(answer, example.answer, tally.hits, tally.counts)
  local is_right = is_exact or same_answer(data, answer, example.answer)
  tally.generated = tally.generated + thoughts + #written
  tally.correct, tally.cut_off = tally.correct + (is_right and 1 or 0), tally.cut_off + (is_finished and 0 or 1)
  count_group(data, example, is_right, tally.groups)
  if #tally.samples == work.samples then return end
  local sample = writing.describe(written, vocabulary)
  sample.question, sample.target = vocabulary:decode_part(example.question), vocabulary:decode_part(example.answer)
  sample.is_right = is_right
  table.insert(tally.samples, sample)
end

-- ---- The two measurements ------------------------------------------------------------------------

-- Greedy decoding of the first examples of a split.
local function decode_all(work, result)
  local tally, started = new_tally(), core.C.icot_seconds()
  for start = 0, work.examples - 1, work.batch do
    local texts, thoughts = writing.for_examples(work.model, work.data, work.corpus, {
      start = start, count = math.min(work.batch, work.examples - start), removed = work.removed,
      removing = work.removing, longest_cot = work.longest_cot,
    })
    for i, written in ipairs(texts) do take(tally, work, work.corpus:example(start + i - 1), written, thoughts) end
  end
  result.examples_per_second = work.examples / (core.C.icot_seconds() - started)
  result.accuracy, result.cut_off = tally.correct / work.examples, tally.cut_off
  result.tokens_generated, result.groups, result.samples = tally.generated, in_order(tally.groups), tally.samples
  for j = 1, work.data.max_answer do
    result.positions[j] = tally.counts[j] and tally.hits[j] / tally.counts[j] or 0 / 0
  end
end

-- One chunk of examples, teacher-forced: the loss summed over its terms, and how many there are; how many targets were
-- hit (NaN where none are predicted).
local function force_chunk(model, packed)
  return scope.run(scope.no_grad, function()
    local mean, logits, targets = model:loss(packed)
    local terms = model:loss_terms(packed)
    local answers = deferred.collect(function()
      deferred.item(mean)
      if logits then deferred.hits(logits, targets) end
    end)
    return answers[1] * terms, terms, answers[2] or 0 / 0
  end)
end

-- Loss and token accuracy of the same examples.
local function teacher_force(work, result)
  local cut = removal.cut(work.removing, work.data, work.removed)
  local beside = work.model.reads_cot and removal.cut(work.removing, work.data, 0) or nil
  local loss, terms, hits, targets = 0, 0, 0, 0
  batch.with(function(packed)
    for start = 0, work.examples - 1, work.batch do
      interrupt.check()
      local n = math.min(work.batch, work.examples - start)
      packed:pack(work.corpus, batch.ids(start, n), n, cut, beside)
      local chunk_loss, chunk_terms, chunk_hits = force_chunk(work.model, packed)
      loss, terms, hits, targets = loss + chunk_loss, terms + chunk_terms, hits + chunk_hits, targets + packed:targets()
    end
  end)
  result.loss, result.token_accuracy = loss / terms, hits / targets
end

---@class icot.EvaluateOptions
---@field examples integer at most this many, the first of the split
---@field batch integer examples decoded at once
---@field samples integer predictions to keep

--- What a split out of distribution has removed: where no example that is trained on has any CoT left, longer ones have
--- none either.
local function removed_from(data, split, removed)
  return data:is_ood(split) and removed >= data.max_cot and math.huge or removed
end

--- Evaluates a model on a split.
---@param model icot.Model
---@param data icot.Dataset with `max_answer`, the longest answer
---@param split string one of data:splits()
---@param removed number CoT tokens that the schedule removes now
---@param removing icot.Removal
---@param options icot.EvaluateOptions
---@return icot.Evaluation
function evaluate.run(model, data, split, removed, removing, options)
  local work = {
    model = model, data = data, corpus = data[split], examples = math.min(options.examples, data[split]:size()),
    batch = options.batch, samples = options.samples, removed = removed_from(data, split, removed),
    removing = removing, longest_cot = data.longest_cots[split],
  }
  local result = { examples = work.examples, positions = {} }
  decode_all(work, result)
  teacher_force(work, result)
  return result
end

return evaluate
