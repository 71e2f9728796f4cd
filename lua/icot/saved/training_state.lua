--- All that a training is beside its tensors, as a table that JSON holds without loss, and back.
---
--- Order and position of the data and all random numbers follow from seed and step, so they need no place here.
local values = require 'icot.base.values'

local training_state = {}

local ALL = 'all' -- stands for math.huge, for which JSON has no word

local function pack_removed(removed)
  return removed == math.huge and ALL or removed
end

--- Removed tokens as a schedule says them, from what a saved state has.
---@param removed number|'all'
---@return number removed math.huge: all
function training_state.unpack_removed(removed)
  return removed == ALL and math.huge or removed
end

local unpack_removed = training_state.unpack_removed

-- ---- There and back -----------------------------------------------------------------------------

--- The state of a training between two of its steps.
---@param training icot.Training
---@return table
function training_state.capture(training)
  local state, forgets = training.state, training:forgets_moments()
  return {
    step = state.step, removed = pack_removed(state.removed), accuracy = state.accuracy, loss = state.loss,
    valid_loss = state.valid_loss,
    own = state.own, planned = training.planned and pack_removed(training.planned),
    own_before = training.planned and training.own_before,
    cot_was_left = training.cot_was_left, last_reset = training.last_reset,
    explicit_accuracy = training.explicit_accuracy, test_accuracy = training.test_accuracy,
    evaluated = training.evaluated,
    optimizer_updates = forgets and 0 or training.optimizer.updates,
    optimizer_updates_sq = forgets and 0 or training.optimizer.updates_sq,
    lr_scale = training.lr_scale, skipped = training.skipped,
    collapse = values.copy(training.collapse), meter = training.meter:state(),
  }
end

--- Puts what a schedule sees where it was.
---@param state icot.ScheduleState
---@param saved table from `capture`
function training_state.restore_schedule(state, saved)
  state.step, state.epoch = saved.step, saved.step / state.steps_per_epoch
  state.removed, state.accuracy, state.loss = unpack_removed(saved.removed), saved.accuracy, saved.loss
  state.valid_loss, state.evaluated_step = saved.valid_loss, saved.evaluated.valid
  state.own = values.copy(saved.own)
end

--- Puts a training where another one was.
---@param training icot.Training
---@param saved table from `capture`
function training_state.restore(training, saved)
  training_state.restore_schedule(training.state, saved)
  training.planned = saved.planned and unpack_removed(saved.planned)
  training.own_before = values.copy(saved.own_before)
  training.cot_was_left, training.last_reset = saved.cot_was_left, saved.last_reset
  training.explicit_accuracy, training.test_accuracy = saved.explicit_accuracy, saved.test_accuracy
  training.evaluated = values.copy(saved.evaluated)
  training.optimizer.updates = saved.optimizer_updates
  training.optimizer.updates_sq = saved.optimizer_updates_sq or saved.optimizer_updates
  training.lr_scale, training.skipped = saved.lr_scale, saved.skipped
  training.collapse = values.copy(saved.collapse or training.collapse)
  training.meter:restore(saved.meter)
end

return training_state
