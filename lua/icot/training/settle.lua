--- What a training does not take over from its checkpoint where the recipe has changed since: as a fork, or when a run
--- is resumed all the same (--allow-changes). What the checkpoint had decided by the old recipe is decided anew.
local collapse = require 'icot.training.collapse'
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local json = require 'icot.base.json'
local methods = require 'icot.schedule.methods'
local seen_before = require 'icot.training.seen_before'

local settle = {}

-- ---- The schedule -------------------------------------------------------------------------------

-- Whether the schedule is the one of before. Functions are the same as long as the recipe's text is.
local function has_same_schedule(run, from)
  local before, now = from.description.config.schedule, run.config.schedule
  if json.is_function_description(before) and type(now) == 'function' then return from.source == run.source, true end
  return json.encode(before) == json.encode(now), false
end

-- What the next update removes may depend on any of these; where the schedule is a function, on its length as well.
local of_the_plan = { 'method', 'schedule', 'train%.batch', 'dataset', 'removal%.unit' }
local of_the_length = { 'train%.steps', 'train%.epochs', 'train%.tokens', 'train%.flops', 'train%.evaluate_every' }

-- And on these, what an evaluation finds.
local of_evaluations = { 'method', 'dataset', 'evaluate', 'removal' }

local function touches(changes, fields)
  for _, change in ipairs(changes) do
    for _, field in ipairs(fields) do
      if change:find('^' .. field .. '[.:]') then return true end
    end
  end
  return false
end

-- Who is asked about, for messages.
local function place_of(resumption)
  return (resumption.is_fork and 'fork_from: ' or '--resume: ') .. resumption.from.path
end

-- Asks what the next update removes. If that is to go back, it is asked once more when the training begins.
local function ask_schedule(training, resumption)
  local state = training.state
  local ok, removed, goes_back = pcall(training.ask_schedule, training)
  if ok and goes_back then return training:forget_plan() end
  if ok then return training:plan(removed) end
  if not errors.is(removed, 'schedule_falls') then error(removed, 0) end
  errors.raise('%s has %d removed at step %d; %s (a schedule counts updates from the first one of %s)',
               place_of(resumption), training:removed(), state.step, removed.message,
               resumption.is_fork and 'the run that is forked' or 'the run')
end

--- Counts what a checkpoint has removed as the schedule counts now: so many tokens are not so many reasoning steps,
--- unless none or all are gone.
---@param state icot.ScheduleState
---@param run icot.Run
---@param from icot.Checkpoint
---@param where string named at the start of an error
---raises an error when a part of the CoT is gone, and it is counted otherwise now
function settle.unit(state, run, from, where)
  local before, now = from.description.config.removal.unit or 'token', run.config.removal.unit
  local saved = from.description.state
  local removed = saved.removed
  if before == now or removed == 0 or not methods.has_schedule(run.config.method) then return end
  if removed == 'all' or saved.max_cot and removed >= saved.max_cot then
    state.removed = state.max_cot
    return
  end
  errors.raise("%s: has %s removed, but removal.unit is '%s' now; continue from a checkpoint that still has all CoT",
               where, counted.of(removed, before), now)
end

--- A schedule that is new finds nothing in `own`, unless one function follows another.
---@param state icot.ScheduleState
---@param run icot.Run
---@param from icot.Checkpoint
function settle.own(state, run, from)
  local is_same, are_functions = has_same_schedule(run, from)
  if not is_same and not are_functions then state.own = {} end
end

-- One that may say something else now is asked anew.
local function settle_schedule(training, resumption)
  local changes, is_function = resumption.changes, type(training.config.schedule) == 'function'
  local is_same = has_same_schedule(training.run, resumption.from)
  local is_open = touches(changes, of_the_plan) or is_function and touches(changes, of_the_length)
  if is_same and not is_open then return end
  training:forget_plan()
  settle.own(training.state, training.run, resumption.from)
  ask_schedule(training, resumption)
end

-- ---- All else -----------------------------------------------------------------------------------

local function settle_the_past(training, resumption)
  local watch, config, from = training.collapse, training.config, resumption.from
  -- a run that has ended as collapsed would do so again at once
  if collapse.has_happened(watch, config.train.stop_on_collapse) then collapse.start_over(watch) end
  -- a new learning rate is meant as it is, whatever the old one was scaled by, but for what a rollback scales it by now
  local has_new_rate = from.description.config.optimizer.lr ~= config.optimizer.lr
  if has_new_rate and not resumption.lr_scale then training:forget_lr_scale() end
  -- accuracies that were measured in another way do not count
  if touches(resumption.changes, of_evaluations) then training:forget_evaluations() end
end

-- A checkpoint of a stage end may have no moments, which nobody misses if they are reset now.
local function settle_moments(training, resumption)
  local from, segment = resumption.from, resumption.segment
  if from.moments or from.description.state.step == 0 then return end
  local planned = training.planned
  local resets = planned and training:begins_stage(planned) and training.config.optimizer.reset == 'all'
  training:note_reset()
  if resets then return end
  segment.changes = 'moments: none, they begin at zero; ' .. segment.changes
  training.progress:warn(("%s has no moments, since its run was about to reset them: they begin at zero, whatever "
                          .. "optimizer.reset says (with checkpoint.keep.moments = true that run keeps them)")
    :format(place_of(resumption)))
end

-- Epochs are updates divided by what an epoch has now.
local function tell_of_epochs(training, resumption)
  if not touches(resumption.changes, { 'train%.batch', 'dataset%.train' }) then return end
  training.progress:warn(('%s: an epoch has %d updates now; schedules and rows count epochs by that, also those before')
    :format(place_of(resumption), training.state.steps_per_epoch))
end

-- A question that was trained on tells little about what was learned.
local function tell_of_seen(training, resumption)
  if resumption.lr_scale then return end -- it was told before the rollback
  local seen, is_known = seen_before.describe(training.data, training.trained_on)
  if not is_known then
    training.progress:warn(('%s: some of what it was trained on cannot be had any more, so whether held-out examples '
                            .. 'are among that is not known'):format(place_of(resumption)))
  end
  if not seen then return end
  resumption.segment.changes = ('trained on before: %s; %s'):format(seen, resumption.segment.changes)
  training.progress:warn(('%s: it was trained on %s; keep dataset.train, valid, test and seed as they were, or begin '
                          .. 'anew'):format(place_of(resumption), seen))
end

-- A run cannot end before where it is. (Of a fork icot.training.fork tells.)
local function require_not_beyond(training, resumption)
  local state = training.state
  if resumption.is_fork or state.step <= state.total_steps then return end
  errors.raise('%s: is of step %d, and train ends the run at step %d', place_of(resumption), state.step,
               state.total_steps)
end

--- Brings a training that was restored from a checkpoint in line with its own recipe.
---@param training icot.Training
---@param resumption icot.Resumption with `changes`
---raises an error when the schedule falls behind what is removed already, or the run would have to end before
function settle.changes(training, resumption)
  require_not_beyond(training, resumption)
  settle.unit(training.state, training.run, resumption.from, place_of(resumption))
  settle_the_past(training, resumption)
  settle_schedule(training, resumption)
  settle_moments(training, resumption)
  tell_of_epochs(training, resumption)
  tell_of_seen(training, resumption)
end

return settle
