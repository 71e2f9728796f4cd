--- s(t) = floor(Δ·t/T): Δ tokens per epoch of T updates; or one token every `steps_per_token` updates.
local timing = require 'icot.schedule.kinds.timing'

local linear = {}

linear.options = timing.with_explicit {
  tokens_per_epoch = { type = 'number', above = 0, max = timing.most, doc = 'number of tokens (Δ) removed per epoch' },
  steps_per_token = {
    type = 'number', above = 0, max = timing.most,
    doc = 'number of updates from one removal to the next',
  },
}

--- The schedule: removed tokens, without a bound; whoever asks cuts them to what there is.
---@param options table checked values of `linear.options`
---@param info icot.ScheduleInfo
---@return icot.Schedule
function linear.build(options, info)
  local passed = timing.since_start(options, info)
  local rate = options.tokens_per_epoch and options.tokens_per_epoch / info.steps_per_epoch
    or 1 / options.steps_per_token
  return function(state) return math.max(0, timing.floor(rate * passed(state))) end
end

return linear
