--- All but the last `slow_tokens` go linearly in the duration; these then go one by one, each after `steps_per_token`
--- updates more: the last tokens are where runs collapse.
local timing = require 'icot.schedule.kinds.timing'

local slow_last = {}

slow_last.options = timing.with_duration {
  slow_tokens = {
    type = 'integer', min = 1, max = timing.most, default = 4,
    doc = 'number of last tokens that are removed one by one',
  },
  steps_per_token = {
    type = 'integer', min = 1, max = timing.most, required = true,
    doc = 'number of updates before each of the last tokens is removed',
  },
}

--- The schedule: removed tokens, at most all there are.
---@param options table checked values of `slow_last.options`
---@param info icot.ScheduleInfo
---@return icot.Schedule
function slow_last.build(options, info)
  local passed, duration = timing.since_start(options, info), timing.duration(options, info)
  local fast = math.max(0, info.max_cot - options.slow_tokens)
  return function(state)
    local updates = passed(state)
    if updates < duration then return timing.floor(fast * math.max(0, updates) / duration) end
    return math.min(info.max_cot, fast + timing.floor((updates - duration) / options.steps_per_token))
  end
end

return slow_last
