--- All that a training is beside its tensors, as a table that JSON holds without loss, and back.
---
--- Order and position of the data and all random numbers follow from seed and step, so they need no place here.
local training_state = require 'icot.saved.training_state'
local values = require 'icot.base.values'

local saved_state = {}

--- The state of a training between two of its steps.
---@param training icot.Training
---@return table
function saved_state.capture(training)
  local state, forgets = training.state, training:forgets_moments()
  return {
    step = state.step, removed = state.removed, max_cot = state.max_cot, accuracy = state.accuracy, loss = state.loss,
    valid_loss = state.valid_loss,
    own = state.own, planned = training.planned, own_before = training.planned and training.own_before,
    cot_was_left = training.cot_was_left, last_reset = training.last_reset,
    explicit_accuracy = training.explicit_accuracy, test_accuracy = training.test_accuracy,
    evaluated = training.evaluated,
    optimizer_updates = forgets and 0 or training.optimizer.updates,
    optimizer_updates_sq = forgets and 0 or training.optimizer.updates_sq,
    lr_scale = training.lr_scale, skipped = training.skipped,
    collapse = values.copy(training.collapse), meter = training.meter:state(),
  }
end

--- Puts a training where another one was.
---@param training icot.Training
---@param saved table from `capture`
function saved_state.restore(training, saved)
  training_state.restore_schedule(training.state, saved)
  training.planned = saved.planned and training_state.removed_of(saved.planned, training.data.max_cot)
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

return saved_state
