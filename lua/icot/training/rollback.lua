--- Back to the end of an earlier stage: what a schedule may ask for when a stage has collapsed.
---
--- Updates are still counted, and the data continue; only parameters and removed tokens are as they were
--- (Training:return_to).
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local fork = require 'icot.training.fork'
local pretrained = require 'icot.gpt2.pretrained'
local training_state = require 'icot.saved.training_state'

local rollback = {}

-- The newest checkpoint that was made at the end of the stage with this many tokens removed; of a fork perhaps one that
-- the run before it has.
local function find(training, removed)
  local function is_of_stage(description) -- the rest is read only of the one it is
    return training_state.removed_of(description.state.removed, training.data.max_cot) == removed
  end
  return training.keeper:stage_end(is_of_stage) or fork.stage_before(training.run, is_of_stage)
end

--- Takes a training back.
---@param training icot.Training
---@param removed integer of the stage whose end is meant
---raises an error when that checkpoint is not there or cannot be read; the training is as it was then
function rollback.to_stage(training, removed)
  local state, found = training.state, find(training, removed)
  if not found then
    errors.raise('schedule: at step %d it asks to go back to the end of the stage with %s removed, but no checkpoint '
                 .. 'of it was kept (see checkpoint.keep.stages)', state.step,
                 counted.of(removed, training.config.removal.unit))
  end
  local from = found.description.state
  pretrained.read_into(training.model:decoding(), found.model_folder) -- all that a method with a schedule trains
  training.keeper:go_back(found)
  training.log:event(training, 'rollback', ('from %d removed to the end of that stage, step %d'):format(
    training:removed(), from.step), removed)
  training.progress:note(('rolled back at step %d: from %d to %s removed, as at step %d'):format(
    state.step, training:removed(), counted.of(removed, training.config.removal.unit), from.step))
  training:return_to(from, removed)
end

return rollback
