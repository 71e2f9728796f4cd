--- How long a training lasts: a number of updates, of passes over the examples, of tokens, or of FLOPs.
---
--- With tokens or FLOPs the number of updates is not known before: batches grow shorter as CoT is removed. The training
--- ends with the update that reaches the budget; until then the total is what the updates so far let expect, and the
--- learning rate decays by that. It follows from what was counted, so a run that is resumed expects the same.
local methods = require 'icot.schedule.methods'
local sequence = require 'icot.text.sequence'

local budget = {}

local EXAMPLES_LOOKED_AT = 1000 -- for the first guess

---@class icot.Budget
---@field kind 'steps'|'tokens'|'flops'
---@field amount number
local Budget = {}
Budget.__index = Budget

--- The budget of a training.
---@param train table `train` of a recipe, with one of steps, epochs, tokens, flops
---@param steps_per_epoch integer
---@return icot.Budget
function budget.new(train, steps_per_epoch)
  local kind = train.tokens and 'tokens' or train.flops and 'flops' or 'steps'
  local amount = train[kind] or train.epochs * steps_per_epoch
  return setmetatable({ kind = kind, amount = amount }, Budget)
end

-- The shape (icot.BatchShape) of the mean example, with all its CoT or without.
local function mean_example(corpus, with_cot)
  local count, tokens, pairs, prompt_tokens, prompt_pairs = math.min(corpus:size(), EXAMPLES_LOOKED_AT), 0, 0, 0, 0
  for i = 0, count - 1 do
    local question, cot, answer = corpus:lengths(i)
    local length, prompt = sequence.length(question, with_cot and cot or 0, answer), question + 1
    tokens, pairs = tokens + length, pairs + length ^ 2
    prompt_tokens, prompt_pairs = prompt_tokens + prompt, prompt_pairs + prompt ^ 2
  end
  return {
    examples = 1, tokens = tokens / count, targets = (tokens - prompt_tokens) / count, pairs = pairs / count,
    prompt_tokens = prompt_tokens / count, prompt_pairs = prompt_pairs / count, pauses = 0,
  }
end

--- Updates that the whole training is expected to take, before the first one.
---@param config table
---@param model icot.Model
---@param data icot.Dataset
---@return integer
function Budget:first_guess(config, model, data)
  if self.kind == 'steps' then return self.amount end
  local shows_cot = methods.fixed_removal(config.method) ~= math.huge
  local example = mean_example(data.train, shows_cot)
  example.explicit = mean_example(data.train, true)
  local per_example = self.kind == 'tokens' and example.tokens or model:step_flops(example)
  local examples = math.min(config.train.batch, data.train:size())
  return math.max(1, math.ceil(self.amount / (per_example * examples)))
end

--- The same from the updates so far; equal to these once the budget is reached. An update that was left out
--- (divergence) counts as much as the mean of the others.
---@param step integer updates so far
---@param skipped integer of them left out
---@param used { tokens: integer, flops: number } by the others
---@param before integer what was expected so far
---@return integer
function Budget:total_steps(step, skipped, used, before)
  if self.kind == 'steps' or step == skipped then return before end
  local spent = used[self.kind] * step / (step - skipped)
  return spent >= self.amount and step or math.max(step + 1, math.ceil(step * self.amount / spent))
end

return budget
