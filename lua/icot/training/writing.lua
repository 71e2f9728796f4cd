--- What a model writes for the examples of a dataset, given their questions alone: greedy decoding with the CoT that
--- the schedule has left, many examples at a time.
local batch = require 'icot.text.batch'
local generate = require 'icot.gpt2.generate'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local sequence = require 'icot.text.sequence'

local writing = {}

-- ---- Prompts ------------------------------------------------------------------------------------

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

-- ---- Writing ------------------------------------------------------------------------------------

--- Whether a text that was written has come to its end, the <eos> after its answer, and was not cut off before.
---@param written integer[] as `for_examples` gives it
---@param vocabulary icot.Vocabulary
---@return boolean
function writing.is_finished(written, vocabulary)
  return written.in_answer == true and written[#written] == vocabulary.eos
end

-- Called once per token, so only the end is looked at, and the ####, once seen, is remembered in the list itself.
local function finish_rule(vocabulary)
  return function(written)
    if written[#written] == vocabulary.separator then written.in_answer = true end
    return writing.is_finished(written, vocabulary)
  end
end

-- CoT tokens that are left, at most.
local function most_cot_left(data, options)
  if options.removing.unit == 'step' then return options.longest_cot end -- steps may be of any length
  return math.max(0, math.max(data.max_cot, options.longest_cot) - options.removed)
end

---@class icot.WritingOptions
---@field start integer the first example, from 0
---@field count integer of examples, decoded all at once
---@field removed number CoT tokens, or steps, that are removed
---@field removing icot.Removal
---@field longest_cot integer tokens of the longest CoT that such examples have

--- What a model writes for some examples, whose CoT and answer it does not see.
---@param model icot.Model
---@param data icot.Dataset
---@param corpus icot.Corpus
---@param options icot.WritingOptions
---@return integer[][] texts ids per example: the CoT that is left, `<eos> ####`, the answer and `<eos>`, if all is well
---@return integer thoughts continuous thoughts before each text
function writing.for_examples(model, data, corpus, options)
  local start, count, removing = options.start, options.count, options.removing
  local cut = removal.cut(removing, data, options.removed)
  local beside = model.reads_cot and removal.cut(removing, data, 0) or nil
  local texts = batch.with(function(packed)
    packed:prompts(corpus, batch.ids(start, count), count, cut, beside)
    local prompts = unpack_prompts(packed, corpus, start, cut, model.has_thoughts)
    return scope.run(scope.no_grad, function()
      local writer, enter = model:decoding(packed)
      return generate.greedy(writer, prompts, {
        max_new_tokens = sequence.length_written(most_cot_left(data, options), data.max_answer),
        is_finished = finish_rule(data.vocabulary), enter = enter,
      })
    end)
  end)
  return texts, model.has_thoughts and removal.leading(cut) or 0
end

-- ---- What it says -------------------------------------------------------------------------------

--- The answer in a written text: what stands between the first #### and the <eos> after it.
---@param written integer[]
---@param vocabulary icot.Vocabulary
---@return integer[]? answer nil if there is no ####
function writing.answer_in(written, vocabulary)
  local answer
  for _, token in ipairs(written) do
    if answer and token == vocabulary.eos then break end
    if answer then answer[#answer + 1] = token end
    if not answer and token == vocabulary.separator then answer = {} end
  end
  return answer
end

-- The CoT in a written text: what stands before the first <eos> or ####.
local function cot_in(written, vocabulary)
  local cot = {}
  for _, id in ipairs(written) do
    if id == vocabulary.eos or id == vocabulary.separator then break end
    cot[#cot + 1] = id
  end
  return cot
end

--- The text of ids that a model wrote. A pretrained one may write what is no symbol of the dataset.
---@param ids integer[]
---@param vocabulary icot.Vocabulary
---@return string
function writing.show(ids, vocabulary)
  for _, id in ipairs(ids) do
    if id >= vocabulary.size then return ('(id %d is not a symbol of the dataset)'):format(id) end
  end
  return vocabulary:decode_part(ids)
end

---@class icot.Written a written text, for people
---@field cot string
---@field prediction string its answer; '' if it has none
---@field is_cut_off boolean it was cut off before its end

--- What a written text says.
---@param written integer[] as `for_examples` gives it
---@param vocabulary icot.Vocabulary
---@return icot.Written
function writing.describe(written, vocabulary)
  local answer = writing.answer_in(written, vocabulary)
  return {
    cot = writing.show(cot_in(written, vocabulary), vocabulary),
    prediction = answer and writing.show(answer, vocabulary) or '',
    is_cut_off = not writing.is_finished(written, vocabulary),
  }
end

return writing
