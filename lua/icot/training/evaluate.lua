--- Evaluation: how well a model answers unseen questions with the CoT that the schedule has left.
---
--- Two measurements: greedy decoding from the question alone (accuracy), and one teacher-forced pass (loss,
--- token accuracy).
local asked = require 'icot.engine.asked'
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
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
---@field samples { question: string, target: string, prediction: string, cot: string,
---   is_right: boolean }[]

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

local function sample_of(data, example, written, answer, is_right)
  local vocabulary = data.vocabulary
  return {
    question = vocabulary:decode_part(example.question), target = vocabulary:decode_part(example.answer),
    prediction = answer and writing.show(answer, vocabulary) or '', is_right = is_right,
    cot = writing.show(writing.cot_in(written, vocabulary), vocabulary),
  }
end

-- ---- Groups of examples ---------------------------------------------------------------------------

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

-- ---- The two measurements ------------------------------------------------------------------------

--- Greedy decoding of the first examples of a split.
local function decode_all(model, data, split, n_examples, removed, removing, options, result)
  local corpus, hits, counts, groups = data[split], {}, {}, {}
  local correct, generated, started = 0, 0, core.C.icot_seconds()
  for start = 0, n_examples - 1, options.batch do
    local n = math.min(options.batch, n_examples - start)
    local texts, thoughts = writing.for_examples(model, data, corpus, {
      start = start, count = n, removed = removed, removing = removing, longest_cot = data.longest_cots[split],
    })
    for i, written in ipairs(texts) do
      local example = corpus:example(start + i - 1)
      local answer = writing.answer_in(written, data.vocabulary)
      generated = generated + thoughts + #written
      local exact = score(answer, example.answer, hits, counts)
      local is_right = exact or same_answer(data, answer, example.answer)
      if is_right then correct = correct + 1 end
      count_group(data, example, is_right, groups)
      if #result.samples < options.samples then
        table.insert(result.samples, sample_of(data, example, written, answer, is_right))
      end
    end
  end
  result.accuracy, result.tokens_generated, result.groups = correct / n_examples, generated, in_order(groups)
  result.examples_per_second = n_examples / (core.C.icot_seconds() - started)
  for j = 1, data.max_answer do result.positions[j] = counts[j] and hits[j] / counts[j] or 0 / 0 end
end

-- One chunk of examples, teacher-forced: the loss summed over its terms, and how many there are; how many targets were
-- hit (NaN where none are predicted).
local function force_chunk(model, packed)
  return scope.run(scope.no_grad, function()
    local mean, logits, targets = model:loss(packed)
    local terms = model:loss_terms(packed)
    local answers = asked.collect(function()
      asked.item(mean)
      if logits then asked.hits(logits, targets) end
    end)
    return answers[1] * terms, terms, answers[2] or 0 / 0
  end)
end

--- Loss and token accuracy of the same examples.
local function teacher_force(model, data, corpus, n_examples, removed, removing, options, result)
  local cut = removal.cut(removing, data, removed)
  local beside = model.reads_cot and removal.cut(removing, data, 0) or nil
  local loss, terms, hits, targets = 0, 0, 0, 0
  batch.with(function(packed)
    for start = 0, n_examples - 1, options.batch do
      interrupt.check()
      local n = math.min(options.batch, n_examples - start)
      packed:pack(corpus, batch.ids(start, n), n, cut, beside)
      local chunk_loss, chunk_terms, chunk_hits = force_chunk(model, packed)
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
  local corpus = data[split]
  local n_examples = math.min(options.examples, corpus:size())
  local result = { examples = n_examples, positions = {}, samples = {} }
  removed = removed_from(data, split, removed)
  decode_all(model, data, split, n_examples, removed, removing, options, result)
  teacher_force(model, data, corpus, n_examples, removed, removing, options, result)
  return result
end

return evaluate
