--- Removes on only when the model has mastered what it does now: `tokens` more each time a validation passes the gate.
---
--- A stage that has not passed after `patience` validations has collapsed: the training then goes back to the model at
--- the end of the last stage that did, and from there on removes half as many tokens at a time. When that is one token
--- already, there is nothing smaller to try: the stage lasts until it passes.
local timing = require 'icot.schedule.kinds.timing'

local gated = { looks_at_validations = true }

gated.options = timing.with_explicit {
  tokens = {
    type = 'integer', min = 1, max = timing.most, default = 1,
    doc = 'number of tokens (Δ) removed at a time',
  },
  metric = {
    type = 'string', one_of = { 'accuracy', 'loss' }, default = 'accuracy',
    doc = 'result of a validation that is compared with the threshold',
  },
  threshold = {
    type = 'number', min = 0, required = true,
    doc = 'lowest accuracy, or highest loss, with which a stage passes',
  },
  patience = {
    type = 'integer', min = 1, max = timing.most, also = { false }, default = 5,
    doc = 'number of validations in which a stage has to pass, or it goes back; false: no limit',
  },
}

--- Whether it goes back to the end of a stage, which has to be kept for that.
---@param options table values of `gated.options`
---@return boolean
function gated.goes_back(options)
  return options.patience ~= false
end

--- What is wrong with options that are each right by themselves.
---@param options table
---@return string? problem nil: nothing
function gated.check(options)
  if options.metric == 'accuracy' and options.threshold > 1 then
    return ('threshold: got %g, expected an accuracy, at most 1'):format(options.threshold)
  end
end

-- A loss that is no number has not passed, nor has an accuracy.
local function passes(options, state)
  if options.metric == 'loss' then return state.valid_loss ~= nil and state.valid_loss <= options.threshold end
  return state.accuracy >= options.threshold
end

-- What is known between two calls lies in state.own, so that a resumed run continues with it.
local function judge(options, state, max_cot)
  local own = state.own
  if passes(options, state) then
    own.waited, own.good = 0, state.removed
    return math.min(max_cot, state.removed + own.tokens)
  end
  own.waited = own.waited + 1
  local collapsed = options.patience and own.waited >= options.patience
  local can_go_back = own.good ~= nil and own.good < state.removed
  if not collapsed or not can_go_back or own.tokens == 1 then return state.removed end
  own.waited, own.tokens = 0, math.floor(own.tokens / 2)
  return own.good, 'rollback'
end

--- The schedule; it keeps what it waits for in `state.own`, and goes back by the second value 'rollback'.
---@param options table checked values of `gated.options`
---@param info icot.ScheduleInfo
---@return icot.Schedule
function gated.build(options, info)
  local passed = timing.since_start(options, info)
  return function(state)
    local own = state.own
    own.tokens, own.waited = own.tokens or options.tokens, own.waited or 0
    -- What was validated before it was asked first, as in a fork, belongs to another stage, perhaps.
    own.judged = own.judged or state.step - 1
    -- The validation just before the first removal is made when its step has been judged, and belongs to that stage.
    local is_new = state.evaluated_step ~= nil and state.evaluated_step > own.judged
    if passed(state) < 0 or not is_new or state.removed >= info.max_cot then return state.removed end
    own.judged = state.step
    return judge(options, state, info.max_cot)
  end
end

return gated
