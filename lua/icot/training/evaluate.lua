--- Evaluation: how well a model answers unseen questions with the CoT that the schedule has left.
---
--- Two measurements: greedy decoding from the question alone (accuracy), and one teacher-forced pass (loss,
--- token accuracy).
local asked = require 'icot.engine.asked'
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
local generate = require 'icot.gpt2.generate'
local interrupt = require 'icot.engine.interrupt'
local names = require 'icot.base.names'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local sequence = require 'icot.text.sequence'

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

--- Puts CoT tokens where they are left, and the first <eos> that is written, which ends the CoT, where it belongs (or
--- further on, if more CoT was written than there should be).
local function place_at(places, eos)
  local ended = false
  return function(written, position)
    if ended then return position end
    if written[#written] ~= eos then return math.max(position, places.cot[#written] or 0) end
    ended = true
    return math.max(position, places.rest)
  end
end

--- Gives pauses after the CoT tokens that they follow, as long as the CoT has not ended.
---@param counts integer[] how many come after each CoT token
---@return icot.GivenTokens
local function pauses_at(counts, eos, pause)
  local most, ended = 0, false
  for _, count in ipairs(counts) do most = most + count end
  return { most = most, after = function(written)
    local pauses = {}
    ended = ended or written[#written] == eos
    for i = 1, not ended and counts[#written] or 0 do pauses[i] = pause end
    return pauses
  end }
end

-- The pauses at the end of a prompt are places where the model thinks.
local function leave_to_thought(prompt, count)
  prompt.thoughts = count
  for _ = 1, count do
    table.remove(prompt.tokens)
    table.remove(prompt.positions)
  end
end

--- Prompts of a packed batch, which begins with example `start` of the corpus.
---@return icot.Prompt[]
local function unpack_prompts(packed, corpus, start, cut, has_thoughts)
  local raw, prompts = packed.raw, {}
  for b = 0, tonumber(raw.n_examples) - 1 do
    local prompt = { tokens = {}, positions = {} }
    for r = raw.cu_seqlens[b], raw.cu_seqlens[b + 1] - 1 do
      prompt.tokens[#prompt.tokens + 1] = raw.tokens[r]
      prompt.positions[#prompt.positions + 1] = raw.positions[r]
    end
    local places = removal.places(cut, corpus, start + b)
    prompt.place = places and place_at(places, cut.eos)
    local pauses = removal.pauses(cut, corpus, start + b)
    prompt.given = pauses and pauses_at(pauses, cut.eos, cut.pause)
    if has_thoughts then leave_to_thought(prompt, raw.pauses[b]) end
    prompts[b + 1] = prompt
  end
  return prompts
end

--- The answer in a written text: what stands between the first #### and the <eos> after it.
---@param written integer[]
---@param vocabulary icot.Vocabulary
---@return integer[]? answer nil if there is no ####
function evaluate.answer_in(written, vocabulary)
  local answer
  for _, token in ipairs(written) do
    if answer and token == vocabulary.eos then break end
    if answer then answer[#answer + 1] = token end
    if not answer and token == vocabulary.separator then answer = {} end
  end
  return answer
end

--- A sequence is complete at the <eos> after its answer. Called once per token, so only the end is looked at,
--- and the ####, once seen, is remembered in the list itself.
local function finish_rule(vocabulary)
  return function(written)
    local last = written[#written]
    if last == vocabulary.separator then written.in_answer = true end
    return written.in_answer == true and last == vocabulary.eos
  end
end

-- CoT tokens that are left, at most.
local function most_cot_left(data, split, removed, removing)
  local longest = data.longest_cots[split]
  if removing.unit == 'step' then return longest end -- steps may be of any length
  return math.max(0, math.max(data.max_cot, longest) - removed)
end

-- How the same examples are cut beside those that are packed, for a model that reads all of their CoT.
local function cut_beside(model, data, removing)
  return model.reads_cot and removal.cut(removing, data, 0) or nil
end

-- What is written for n examples, from `start` on, and how many thoughts there are before each of them.
local function decode_chunk(model, data, split, start, n, removed, removing)
  local corpus, cut = data[split], removal.cut(removing, data, removed)
  local cot_left = most_cot_left(data, split, removed, removing)
  local texts = batch.with(function(packed)
    packed:prompts(corpus, batch.ids(start, n), n, cut, cut_beside(model, data, removing))
    local prompts = unpack_prompts(packed, corpus, start, cut, model.has_thoughts)
    return scope.run(scope.no_grad, function()
      local writer, enter = model:decoding(packed)
      return generate.greedy(writer, prompts, {
        max_new_tokens = sequence.length_written(cot_left, data.max_answer),
        is_finished = finish_rule(data.vocabulary), enter = enter,
      })
    end)
  end)
  return texts, model.has_thoughts and removal.leading(cut) or 0
end

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

-- What was written before `####`, and the <eos> before that.
local function cot_in(written, vocabulary)
  local cot = {}
  for _, id in ipairs(written) do
    if id == vocabulary.eos or id == vocabulary.separator then break end
    cot[#cot + 1] = id
  end
  return cot
end

-- A pretrained model may write what is no symbol of the dataset.
local function show_part(ids, vocabulary)
  for _, id in ipairs(ids) do
    if id >= vocabulary.size then return ('(id %d is not a symbol of the dataset)'):format(id) end
  end
  return vocabulary:decode_part(ids)
end

--- Whether the dataset takes an answer that differs from its target for the same, as 1,000 and 1000.
local function same_answer(data, answer, target)
  if not data.same_answer or not answer then return false end
  return data.same_answer(show_part(answer, data.vocabulary), data.vocabulary:decode_part(target))
end

local function sample_of(data, example, written, answer, is_right)
  local vocabulary = data.vocabulary
  return {
    question = vocabulary:decode_part(example.question), target = vocabulary:decode_part(example.answer),
    prediction = answer and show_part(answer, vocabulary) or '', is_right = is_right,
    cot = show_part(cot_in(written, vocabulary), vocabulary),
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
    local texts, thoughts = decode_chunk(model, data, split, start, n, removed, removing)
    for i, written in ipairs(texts) do
      local example = corpus:example(start + i - 1)
      local answer = evaluate.answer_in(written, data.vocabulary)
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
  local cut, beside = removal.cut(removing, data, removed), cut_beside(model, data, removing)
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
