--- A run that begins where another one was: at a checkpoint, which `fork_from` of its recipe names.
---
--- What was until then is shared: parameters and moments, updates, tokens and seconds so far, the rows of the run file.
--- From there on the new recipe holds, and another schedule is asked anew. All of it is read when the fork begins; it
--- goes on from checkpoints of its own then, and the other run may go.
local checkpoint = require 'icot.saved.checkpoint'
local collapse = require 'icot.training.collapse'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local json = require 'icot.base.json'
local resume = require 'icot.saved.resume'
local run_paths = require 'icot.results.run_paths'
local schedule = require 'icot.schedule'
local training_state = require 'icot.saved.training_state'

local fork = {}

-- ---- Where it begins ----------------------------------------------------------------------------

-- The checkpoint that a run shall begin at.
local function path_of(run)
  local given = run.config.fork_from
  return given and (given:gsub('(.)/+$', '%1'))
end

-- One of some checkpoints that a fork could begin at.
local function example_of(found)
  for _, each in ipairs(found) do
    if each.step > 0 then return each.path end
  end
end

-- Tells what the path names instead of a checkpoint.
local function raise_no_checkpoint(path)
  local of_run = example_of(checkpoint.list(run_paths.checkpoint_folder(run_paths.run_file(path))))
  local inside, beside = example_of(checkpoint.list(path)), example_of(checkpoint.list(files.folder_of(path)))
  local such_as = of_run or inside or beside
  errors.raise('fork_from: %s: %s%s', path, of_run and 'is a run' or inside and 'is a folder of checkpoints'
               or files.kind(path) and 'is no checkpoint' or 'there is no such checkpoint',
               such_as and '; name a checkpoint, such as ' .. such_as or '')
end

local function read(path)
  if not checkpoint.is_at(path) then raise_no_checkpoint(path) end
  local ok, result = pcall(checkpoint.read, path)
  if not ok and errors.is_user_error(result) then errors.raise('fork_from: %s', errors.describe(result)) end
  if not ok then error(result, 0) end
  if result.description.state.step == 0 then
    errors.raise('fork_from: %s: is that of the beginning, from which a run starts without it', path)
  elseif result.description.config.distillation then
    errors.raise("fork_from: %s: is one of the method 'icot_kd', whose networks no other method trains", path)
  end
  return result
end

local function refuse_other_task(from, run)
  local before, now = from.description.config.dataset.task, run.config.dataset.task
  if before == now then return end
  errors.raise("fork_from: %s: was trained on the task '%s', and dataset.task is '%s'", from.path, tostring(before),
               now)
end

-- The checkpoint at a path, if the run can begin there.
local function read_for(run, path)
  local from = read(path)
  refuse_other_task(from, run)
  return from
end

-- A run that is begun removes what lies in its place.
local function refuse_own_place(path, run)
  local lies_in = path .. '/..' -- also of a link
  if files.is_same(lies_in, run_paths.checkpoint_folder(run.output))
    or files.is_same(path, run_paths.model_folder(run.output)) then
    errors.raise('fork_from: %s: belongs to %s, in whose place the fork would go; give --out', path, run.output)
  end
end

--- What a run begins with, if it is a fork.
---@param run icot.Run
---@return icot.Resumption? resumption nil: it is none
---raises an error when the checkpoint is not there, or cannot be used
function fork.find(run)
  local path = path_of(run)
  if not path then return nil end
  refuse_own_place(path, run)
  local from = read_for(run, path)
  local changes = resume.changes(run, from)
  return {
    from = from, is_fork = true, allow_changes = true, changes = changes,
    segment = {
      step = from.description.state.step, changes = table.concat(changes, '; '),
      stopped_by = 'forked', stopped_time = from.description.time,
    },
  }
end

--- Makes sure, before anything is touched, that all forks among some runs can begin.
---@param runs icot.Run[]
---raises an error as `find` does
function fork.check(runs)
  local read_already = {}
  for _, run in ipairs(runs) do
    local path = path_of(run)
    if path then
      for _, other in ipairs(runs) do refuse_own_place(path, other) end
      read_already[path] = read_already[path] or read(path)
      refuse_other_task(read_already[path], run)
    end
  end
end

-- ---- Its schedule -------------------------------------------------------------------------------

-- Whether the schedule is the one of before. Functions are the same as long as the recipe's text is.
local function has_same_schedule(run, from)
  local before, now = from.description.config.schedule, run.config.schedule
  if json.is_function_description(before) and type(now) == 'function' then return from.source == run.source, true end
  return json.encode(before) == json.encode(now), false
end

-- What the next update removes may hang on any of these.
local of_the_plan = { 'method', 'schedule', 'train', 'dataset', 'removal%.unit' }

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

-- Asks what the next update removes; it may want to go back at once, and is asked once more then.
local function ask_schedule(training, from)
  local state = training.state
  local ok, removed, goes_back = pcall(schedule.call, training.schedule, state)
  if ok then
    training.planned = not goes_back and removed or nil
    return
  end
  if not errors.is(removed, 'schedule_falls') then error(removed, 0) end
  errors.raise('fork_from: %s has %d removed at step %d; %s; it counts from the first update of the run before',
               from.path, training:removed(), state.step, removed.message)
end

-- A schedule that is new finds nothing in `own`, unless one function follows another; gives whether it is the same.
local function settle_own(state, run, from)
  local is_same, are_functions = has_same_schedule(run, from)
  if not is_same and not are_functions then state.own = {} end
  return is_same
end

-- One that may say something else now is asked anew.
local function settle_schedule(training, resumption)
  local from = resumption.from
  local is_same = settle_own(training.state, training.run, from)
  if not is_same or touches(resumption.changes, of_the_plan) then ask_schedule(training, from) end
end

--- What a schedule is told when it is asked first.
---@param run icot.Run
---@param info icot.ScheduleInfo
---@return icot.ScheduleState? state nil: the run is no fork
---raises an error as `find` does, but for where the run would go
function fork.place(run, info)
  local path = path_of(run)
  if not path then return nil end
  local from, state = read_for(run, path), schedule.state_at_start(info)
  training_state.restore_schedule(state, from.description.state)
  settle_own(state, run, from)
  return state
end

-- ---- What else it does not take over ------------------------------------------------------------

-- Of a run that has ended by collapsing, which the fork shall not do at once; of one whose rate was lowered; and of one
-- that was evaluated in another way.
local function settle_the_past(training, resumption)
  local watch, config, from = training.collapse, training.config, resumption.from
  if collapse.has_happened(watch, config.train.stop_on_collapse) then collapse.start_over(watch) end
  if from.description.config.optimizer.lr ~= config.optimizer.lr then training.lr_scale = 1 end
  if touches(resumption.changes, of_evaluations) then
    training.evaluated, training.test_accuracy = {}, nil
  end
end

-- A checkpoint of a stage end may have no moments, which nobody misses if they are reset now.
local function settle_moments(training, resumption)
  local from, segment = resumption.from, resumption.segment
  if from.moments then return end
  local planned = training.planned
  local resets = planned and training:begins_stage(planned) and training.config.optimizer.reset == 'all'
  training:note_reset()
  if resets then return end
  segment.changes = 'moments: none, they begin at zero; ' .. segment.changes
  training.progress:warn(("fork_from: %s has no moments, since its run was about to reset them: they begin at zero, "
                          .. "whatever optimizer.reset says (with checkpoint.keep.moments = true that run keeps them)")
    :format(from.path))
end

--- What a fork does not take over from the run before it.
---@param training icot.Training restored from the checkpoint
---@param resumption icot.Resumption from `find`
---raises an error when the fork would end where it begins, or its schedule falls behind what is removed already
function fork.settle(training, resumption)
  local state, from = training.state, resumption.from
  if state.step >= state.total_steps then
    errors.raise('fork_from: %s is of step %d, and train ends the run at step %d', from.path, state.step,
                 state.total_steps)
  end
  settle_schedule(training, resumption)
  settle_the_past(training, resumption)
  settle_moments(training, resumption)
end

-- ---- On the way ---------------------------------------------------------------------------------

--- The checkpoint of a stage's end that a fork has left with the run before it.
---@param run icot.Run
---@param is_of_stage fun(description: table): boolean of those that end a stage
---@return icot.Checkpoint? newest nil: there is none any more, or the run is no fork
function fork.stage_before(run, is_of_stage)
  local path = path_of(run)
  while path and checkpoint.is_at(path) do -- of a fork of a fork, what lies further back
    local description = checkpoint.read_description(path)
    local found = checkpoint.list(path .. '/..')
    for i = #found, 1, -1 do
      local is_before = found[i].step <= description.state.step
      local each = is_before and checkpoint.read_description(found[i].path)
      if each and checkpoint.ends_stage(each) and is_of_stage(each) then return checkpoint.read(found[i].path) end
    end
    path = description.config.fork_from
  end
end

return fork
