--- Every stage removes the same share of what is left, by default half of it, rounded up, until nothing is left:
--- of 24 tokens 12, 6, 3, 2 and 1. With half, ⌊log2(m)⌋ + 1 stages are enough for m tokens (Log-ICoT).
---
--- On a CoT that works level by level through a binary tree, the leaves first, each stage is a level.
local timing = require 'icot.schedule.kinds.timing'

local geometric = {}

geometric.options = timing.with_explicit {
  share = {
    type = 'number', above = 0, below = 1, default = 0.5,
    doc = 'share of the remaining CoT that each stage removes',
  },
  steps_per_stage = {
    type = 'integer', min = 1, max = timing.most,
    doc = 'number of updates from one removal to the next',
  },
  epochs_per_stage = {
    type = 'number', above = 0, max = timing.most,
    doc = 'number of epochs from one removal to the next',
  },
}

-- How much is removed in stage 1, 2, …
local function stages(max_cot, share)
  local list, left = {}, max_cot
  while left > 0 do
    left = left - math.max(1, math.ceil(left * share - 1e-9))
    list[#list + 1] = max_cot - left
  end
  return list
end

--- The schedule: removed tokens, a step function of the stage.
---@param options table checked values of `geometric.options`
---@param info icot.ScheduleInfo
---@return icot.Schedule
function geometric.build(options, info)
  local passed = timing.since_start(options, info)
  local stage_steps = options.steps_per_stage or options.epochs_per_stage * info.steps_per_epoch
  local removed = stages(info.max_cot, options.share)
  return function(state)
    local stage = timing.floor(passed(state) / stage_steps)
    return stage < 1 and 0 or removed[stage] or info.max_cot
  end
end

return geometric
