--- One run from its beginning, or from a checkpoint, to its end: what comes when, and what is kept however it ends.
local checkpoint = require 'icot.saved.checkpoint'
local checkpoint_keeper = require 'icot.training.checkpoint_keeper'
local cleanup = require 'icot.base.cleanup'
local collapse = require 'icot.training.collapse'
local core = require 'icot.engine.core'
local counted = require 'icot.base.counted'
local divergence = require 'icot.training.divergence'
local end_state = require 'icot.results.end_state'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local fork = require 'icot.training.fork'
local interrupt = require 'icot.engine.interrupt'
local lock = require 'icot.engine.lock'
local methods = require 'icot.schedule.methods'
local model_file = require 'icot.model.model_file'
local resume = require 'icot.saved.resume'
local rollback = require 'icot.training.rollback'
local run_paths = require 'icot.results.run_paths'
local settle = require 'icot.training.settle'
local start_notes = require 'icot.training.start_notes'
local tasks = require 'icot.data.tasks'
local training = require 'icot.training'
local training_log = require 'icot.training.training_log'
local lfs = require 'lfs'

local trainer = {}

-- ---- The loop -----------------------------------------------------------------------------------

local function evaluation_is_due(self)
  local every, step = self.config.train.evaluate_every, self.state.step
  if every == 'epoch' then every = self.state.steps_per_epoch end
  return step > 0 and step % every == 0 and step < self.state.total_steps
end

-- Whether a model that once wrote CoT has to do without any.
local function has_internalized(self)
  return methods.has_schedule(self.config.method) and self:removed() >= self.data.max_cot
end

--- A run may end early once it answers well enough; if a schedule removes CoT, only when none is left.
local function good_enough(self)
  local wanted, state = self.config.train.stop_at_accuracy, self.state
  if not wanted or self.evaluated.valid ~= state.step then return false end
  local is_reached = state.accuracy >= wanted -- never by NaN
  return is_reached and (not methods.has_schedule(self.config.method) or has_internalized(self))
end

-- A run may also end early because it has lost what it knew.
local function has_collapsed(self)
  return collapse.has_happened(self.collapse, self.config.train.stop_on_collapse)
end

-- Evaluates the validation examples, unless that was done at this step.
local function validate(self)
  local result = self:evaluate_once('valid')
  if result then
    self.keeper:note_accuracy(self:removed(), result.accuracy)
    collapse.note(self.collapse, result.accuracy, has_internalized(self), self.config.train.stop_on_collapse)
  end
  return self.state.accuracy
end

-- What the next update removes. Nothing of this happens twice if the run is resumed between two steps of it.
local function plan(self)
  local state = self.state
  if not self.planned then
    local removed, goes_back = self:ask_schedule()
    if goes_back then rollback.to_stage(self, removed) end
    self:plan(removed)
  end
  if self.planned > 0 and state.removed == 0 and state.step > 0 then
    if not self.explicit_accuracy then self:note_explicit_accuracy(validate(self)) end
  end
end

local function report(self)
  local state = self.state
  if state.step % self.config.train.log_every == 0 then self:log_interval() end
  self.progress:expect(state.total_steps) -- a guess, where the budget is one of tokens or FLOPs
  self.progress:update {
    step = state.step, removed = self:removed(), loss = state.loss, accuracy = state.accuracy,
    tokens_per_second = self.meter:tokens_per_second(),
  }
end

--- Trains until all updates are done, or the accuracy is good enough, or was lost. A run that is resumed enters where
--- its checkpoint was made: between two updates, with the evaluations that were done by then.
local function train(self)
  while true do
    if evaluation_is_due(self) then validate(self) end
    if self.state.step >= self.state.total_steps or good_enough(self) or has_collapsed(self) then return end
    plan(self)
    self.keeper:consider(self)
    interrupt.check()
    self:update(self.planned)
    report(self)
  end
end

-- ---- The end ------------------------------------------------------------------------------------

---@class icot.RunResult what a run that was trained came to; `result` of its last checkpoint, too
---@field status 'finished'|'collapsed'|'interrupted'|'failed'
---@field accuracy number on the held-out test examples, with the CoT that is left; NaN if there was no time for it
---@field explicit_accuracy number? on the validation examples, just before the first removal
---@field removed integer
---@field updates integer
---@field tokens integer trained on, in all batches together
---@field flops number
---@field seconds number of training, without evaluation
---@field model_path string
---@field run_file_bytes integer? of the run file, once it is closed

local function result_of(self, status, accuracy)
  local totals = self.meter:totals()
  return {
    status = status, accuracy = accuracy or 0 / 0, explicit_accuracy = self.explicit_accuracy,
    removed = self:removed(), updates = self.state.step, tokens = totals.tokens, flops = totals.flops,
    seconds = totals.seconds, model_path = self.model_path,
  }
end

--- A bug keeps the place where it was raised; what is raised on purpose stays as it is.
local function with_trace(raised)
  local on_purpose = errors.is_user_error(raised) or interrupt.is_interrupt(raised) or divergence.is_divergence(raised)
  return on_purpose and raised or debug.traceback(tostring(raised), 2)
end

--- Trains and evaluates; gives the accuracy on the test examples.
local function run_whole(self)
  self.meter:start()
  train(self)
  self:log_interval()
  validate(self)
  self:evaluate_once('test')
  for _, split in ipairs(self.data.ood) do self:evaluate_once(split) end
  return self.test_accuracy
end

--- Keeps what there is: a checkpoint to continue from, the last rows, the model, and how the run ended. A failed run
--- gets no checkpoint: its last one is known to be good. Rows that are only there because the run stops come after it.
--- The checkpoint that says that a run is over comes last: all else is as it shall be then.
local function wind_up(self, status, accuracy)
  if status == 'interrupted' then self.keeper:save(self, { stopped_by = status }) end
  self:log_interval()
  self:save_model()
  self.log:set('checkpoint_seconds', self.keeper.seconds)
  self.log:set('total_steps', self.state.total_steps)
  self.log:close(status)
  local result = result_of(self, status, accuracy)
  result.run_file_bytes = lfs.attributes(self.run.output, 'size')
  if end_state.is_over(status) and self.keeper:save(self, { result = result }) then self.keeper:prune(true) end
  return result
end

-- ---- The beginning ------------------------------------------------------------------------------

-- Puts away what an earlier run has left. A checkpoint follows, so that there always is one to resume.
local function start_anew(self)
  files.remove_tree(run_paths.checkpoint_folder(self.run.output))
  self.keeper = checkpoint_keeper.new(run_paths.checkpoint_folder(self.run.output), self.config.checkpoint)
  model_file.remove(self.run.model_output)
end

-- All that can go wrong comes before what is there is touched. The first checkpoint is kept with the rows that it has
-- already, and as the end of a stage, if it is that of one, to which the run may go back.
local function begin_fork(self, wanted, resumption)
  local from = resumption.from
  fork.settle(self, resumption)
  if good_enough(self) then errors.raise('fork_from: %s: has already reached train.stop_at_accuracy', from.path) end
  local ok, log = pcall(training_log.create, self, wanted.overwrite, resumption)
  if not ok and errors.is_user_error(log) then
    errors.raise('fork_from: %s: cannot make a run file with its rows: %s', from.path, errors.describe(log))
  end
  self.log = ok and log or error(log, 0)
  start_anew(self)
  self.progress:note(('forked from %s, step %d'):format(from.path, self.state.step))
  self.keeper:save(self, { stage = checkpoint.ends_stage(from.description) })
end

local function begin(self, wanted, resumption)
  self.progress = wanted.progress
  self.progress:expect(self.state.total_steps)
  if not (resumption and resumption.lr_scale) then start_notes.tell(self) end -- else it was told before the rollback
  if resumption and not resumption.is_fork then
    if #resumption.changes > 0 then settle.changes(self, resumption) end
    local folder = run_paths.checkpoint_folder(self.run.output)
    self.keeper = checkpoint_keeper.new(folder, self.config.checkpoint, resumption.from)
    self.progress:note(('resumed from the checkpoint of step %d'):format(self.state.step))
    self.log = training_log.create(self, wanted.overwrite, resumption)
    model_file.remove(self.run.model_output) -- of the last stop; the checkpoint has it, and the run goes on
  elseif resumption then
    begin_fork(self, wanted, resumption)
  else
    start_anew(self)
    self.keeper:save(self, {})
    self.log = training_log.create(self, wanted.overwrite)
  end
end

local function run_locked(run, wanted, resumption)
  local self = training.new(run, resumption)
  cleanup.or_free(self, begin, wanted, resumption)
  local ok, outcome = xpcall(run_whole, with_trace, self)
  local status = ok and (has_collapsed(self) and 'collapsed' or 'finished')
    or interrupt.is_interrupt(outcome) and 'interrupted' or 'failed'
  self.progress:finish()
  local saved, result = pcall(wind_up, self, status, ok and outcome or nil)
  if not saved then pcall(self.log.close, self.log, 'failed') end
  self:free()
  if status == 'failed' then error(outcome, 0) end -- the first error is the one to tell
  if not saved then error(result, 0) end
  return result
end

-- What a run continues from, or begins with as a fork; nil: neither.
local function starting_point(run, wanted, note)
  return wanted.resume and resume.find(run, wanted, note) or fork.find(run)
end

-- Runs it; after a divergence that the recipe wants undone, once more from the last checkpoint with a lower learning
-- rate, which is one more segment of the same run.
local function run_with_rollbacks(run, wanted, resumption, note)
  local given = run.config.divergence
  for attempt = 0, given.rollbacks do
    local ok, result = pcall(run_locked, run, wanted, resumption)
    if ok then return result end
    if not divergence.is_divergence(result) then error(result, 0) end
    if attempt == given.rollbacks then
      errors.raise('%s; %s did not help (divergence.rollbacks)', result.message, counted.of(attempt, 'rollback'))
    end
    local found, back = pcall(resume.after_divergence, run, wanted, note, result.lr_scale * given.lr_scale)
    if not found then errors.raise('%s; cannot roll back: %s', result.message, errors.describe(back)) end
    resumption = back
    note(('%s; rolled back, with the learning rate scaled by %g'):format(result.message, resumption.lr_scale))
  end
end

-- Whether a run file is there, and not cut off.
local function has_run_file(run, result)
  local bytes = files.kind(run.output) == 'file' and lfs.attributes(run.output, 'size')
  return bytes and bytes >= (result.run_file_bytes or 0) -- not there in older ones
end

-- Looks whether the examples are still the same, where the recipe names files that they come from.
local function check_files(run, resumption)
  for _, value in pairs(run.config.dataset) do
    if type(value) == 'string' and files.kind(value) then
      local ok, data = pcall(tasks.load_for_run, run.config)
      if not ok and errors.is(data, 'no_file') then return end -- it is gone; the run needs it no more
      if not ok then error(data, 0) end
      local digest = data:digest()
      data:free()
      return resume.check_data(resumption, digest)
    end
  end
end

-- Whether a run is over, and what it has left is there. If not, all of it is made again from the last checkpoint.
local function has_ended(run, resumption)
  local result = not resumption.is_fork and resumption.from.description.result
  if not result or not has_run_file(run, result) then return false end
  if result.model_path and not model_file.is_in(run.model_output) then return false end
  check_files(run, resumption)
  return #resumption.changes == 0
end

---@class icot.TrainerOptions
---@field progress icot.Progress
---@field overwrite? boolean replace results that are there
---@field resume? boolean continue from the newest checkpoint; where there is nothing yet, begin
---@field allow_changes? boolean resume although the recipe or the data has changed

--- Runs one training to its end and writes its run file, its checkpoints and its model.
---@param run icot.Run
---@param wanted icot.TrainerOptions
---@return icot.RunResult
---raises an error: whatever the data, the schedule or the disk have; another process is at work on this run. Rows and
--- model are saved as far as that goes, the run file is marked 'failed', and the last checkpoint stands.
function trainer.run(run, wanted)
  return lock.with(run.output, function(held)
    local function note(text) wanted.progress:note(text) end
    local function warn(text) wanted.progress:warn(text) end
    local about_place = lock.note_about(run.output, held)
    if about_place then note(about_place) end
    files.remove_partials(run.output)
    for _, name in ipairs(model_file.NAMES) do files.remove_partials(run.model_output .. '/' .. name) end
    local resumption = starting_point(run, wanted, warn)
    if resumption and has_ended(run, resumption) then
      note('already ' .. resumption.from.description.result.status)
      checkpoint_keeper.new(run_paths.checkpoint_folder(run.output), run.config.checkpoint, resumption.from):prune(true)
      local result = resumption.from.description.result
      if result.model_path then result.model_path = run.model_output end -- the run may have been moved
      return result
    end
    core.use_device(run.config.device)
    if resumption and not resumption.is_fork then resume.compare_machine(resumption.from, note) end
    return run_with_rollbacks(run, wanted, resumption, note)
  end)
end

return trainer
