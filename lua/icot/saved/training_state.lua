--- What a checkpoint's `state` says of a training (icot.training.saved_state writes it), for whoever looks at a run.
local values = require 'icot.base.values'

local training_state = {}

local ALL = 'all' -- written by older versions: what a schedule said was not bounded by what there is

--- Tokens, or steps, that a saved state has removed.
---@param removed number|'all'
---@return number removed math.huge: all
function training_state.unpack_removed(removed)
  return removed == ALL and math.huge or removed
end

--- The same for data whose longest CoT is known.
---@param removed number|'all'
---@param max_cot integer
---@return integer
function training_state.removed_of(removed, max_cot)
  return math.min(training_state.unpack_removed(removed), max_cot)
end

--- Puts what a schedule sees where it was.
---@param state icot.ScheduleState
---@param saved table `state` of a checkpoint
function training_state.restore_schedule(state, saved)
  state.step, state.epoch = saved.step, saved.step / state.steps_per_epoch
  state.removed = training_state.removed_of(saved.removed, state.max_cot)
  state.accuracy, state.loss = saved.accuracy, saved.loss
  state.valid_loss, state.evaluated_step = saved.valid_loss, saved.evaluated.valid
  state.own = values.copy(saved.own)
end

return training_state
