--- A run that begins where another one was: at a checkpoint, which `fork_from` of its recipe names.
---
--- What was until then is shared: parameters and moments, updates, tokens and seconds so far, the rows of the run file.
--- From there on the new recipe holds, and another schedule is asked anew. All of it is read when the fork begins; it
--- goes on from checkpoints of its own then, and the other run may go.
local checkpoint = require 'icot.saved.checkpoint'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local resume = require 'icot.saved.resume'
local run_paths = require 'icot.results.run_paths'
local schedule = require 'icot.schedule'
local settle = require 'icot.training.settle'
local training_state = require 'icot.saved.training_state'
local values = require 'icot.base.values'

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
    errors.raise('fork_from: %s: is the checkpoint of step 0, where any run starts; leave fork_from out', path)
  elseif result.description.config.distillation then
    errors.raise("fork_from: %s: was written by icot_kd, whose runs cannot be forked", path)
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
  if run_paths.holds(run.output, path) then
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

-- ---- How it begins -------------------------------------------------------------------------------

local function require_updates_left(from, step, total_steps)
  if step < total_steps then return end
  errors.raise('fork_from: %s is of step %d, and train ends the run at step %d', from.path, step, total_steps)
end

--- What a schedule is told when it is asked first.
---@param run icot.Run
---@param info icot.ScheduleInfo
---@return icot.ScheduleState? state nil: the run is no fork
---raises an error as `find` does, but for where the run would go, and as `settle`
function fork.place(run, info)
  local path = path_of(run)
  if not path then return nil end
  local from, state = read_for(run, path), schedule.state_at_start(info)
  training_state.restore_schedule(state, from.description.state)
  require_updates_left(from, state.step, info.total_steps)
  settle.unit(state, run, from, 'fork_from: ' .. from.path)
  state.own = values.copy(from.description.state.own_before) or state.own
  settle.own(state, run, from)
  return state
end

--- What a fork does not take over from the run before it.
---@param training icot.Training restored from the checkpoint
---@param resumption icot.Resumption from `find`
---raises an error when the fork would end where it begins, or its schedule falls behind what is removed already
function fork.settle(training, resumption)
  local state, from = training.state, resumption.from
  require_updates_left(from, state.step, state.total_steps)
  settle.changes(training, resumption)
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
