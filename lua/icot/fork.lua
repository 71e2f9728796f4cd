--- A run that begins where another one was: at a checkpoint, which `fork_from` of its recipe names.
---
--- What was until then is shared: parameters and moments, updates, tokens and seconds so far, the rows of the run file.
--- From there on the new recipe holds, and asks its schedule anew. All of it is read when the fork begins; once it has
--- checkpoints of its own it goes on from these, and the other run may go.
local checkpoint = require 'icot.checkpoint'
local collapse = require 'icot.collapse'
local errors = require 'icot.errors'
local files = require 'icot.files'
local json = require 'icot.json'
local resume = require 'icot.resume'
local run_paths = require 'icot.run_paths'

local fork = {}

-- Tells what the path names instead of a checkpoint.
local function raise_no_checkpoint(path)
  local run_path = run_paths.run_file(path)
  local found = checkpoint.list(run_paths.checkpoint_folder(run_path))
  if #found > 0 then
    errors.raise('fork_from: %s: is a run; name one of its checkpoints, such as %s', path, found[#found].path)
  end
  errors.raise('fork_from: %s: %s', path, files.kind(path) and 'is no checkpoint' or 'there is no such checkpoint')
end

local function read(path)
  if not checkpoint.is_at(path) then raise_no_checkpoint(path) end
  local ok, result = pcall(checkpoint.read, path)
  if not ok and errors.is_user_error(result) then errors.raise('fork_from: %s', errors.describe(result)) end
  if not ok then error(result, 0) end
  if result.description.state.step == 0 then
    errors.raise('fork_from: %s: is that of the beginning, from which a run starts without it', path)
  end
  return result
end

--- What a run begins with, if it is a fork.
---@param run icot.Run
---@return icot.Resumption? resumption nil: it is none
---raises an error when the checkpoint is not there, or cannot be used
function fork.find(run)
  local path = run.config.fork_from
  if not path then return nil end
  local from = read(path)
  return {
    from = from, is_fork = true, allow_changes = true,
    segment = {
      step = from.description.state.step, changes = table.concat(resume.changes(run, from), '; '),
      stopped_by = 'forked', stopped_time = from.description.time,
    },
  }
end

--- Makes sure, before anything is touched, that all forks among some runs can begin.
---@param runs icot.Run[]
---raises an error as `find` does
function fork.check(runs)
  local checked = {}
  for _, run in ipairs(runs) do
    local path = run.config.fork_from
    if path and not checked[path] then
      read(path)
      checked[path] = true
    end
  end
end

-- A schedule that is new is asked anew, and finds nothing in `own` unless one function follows another. Functions are
-- the same as long as the recipe's text is.
local function settle_schedule(training, from)
  local before, now = from.description.config.schedule, training.config.schedule
  local both_functions = json.is_function_description(before) and type(now) == 'function'
  if both_functions and from.source == training.run.source then return end
  if json.encode(before) == json.encode(now) and not both_functions then return end
  training.planned = nil
  if not both_functions then training.state.own = {} end
end

--- What a fork does not take over from the run before it.
---@param training icot.Training restored from the checkpoint
---@param from icot.Checkpoint
---raises an error when the fork would end where it begins
function fork.settle(training, from)
  local state = training.state
  if state.step >= state.total_steps then
    errors.raise('fork_from: %s is of step %d, and train ends the run at step %d', from.path, state.step,
                 state.total_steps)
  end
  settle_schedule(training, from)
  local watch = training.collapse -- of a run that has ended by it, which the fork shall not do at once
  if collapse.has_happened(watch, training.config.train.stop_on_collapse) then collapse.start_over(watch) end
  if from.moments then return end
  training:note_reset()
  training.progress:warn(('fork_from: %s has no moments, since its run was to reset them: they begin at zero '
                          .. '(checkpoint.keep.moments keeps them)'):format(from.path))
end

return fork
