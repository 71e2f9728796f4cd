--- What there is of a run to look at or to continue: its newest checkpoint; of a study, the runs that have one.
local checkpoint = require 'icot.saved.checkpoint'
local errors = require 'icot.base.errors'
local run_paths = require 'icot.results.run_paths'

local saved_run = {}

--- The newest checkpoint of a run that can be read; broken ones are passed over.
---@param run_path string
---@param note? fun(text: string) is told of them
---@return icot.Checkpoint? newest nil: there is none
---@return string? problem what is wrong with the newest of those that cannot be read, if there is none that can
function saved_run.newest(run_path, note)
  local found, problem = checkpoint.list(run_paths.checkpoint_folder(run_path)), nil
  for i = #found, 1, -1 do
    local ok, result = pcall(checkpoint.read, found[i].path)
    if ok then return result end
    if not errors.is_user_error(result) then error(result, 0) end
    local text = ('checkpoint of step %d cannot be used: %s'):format(found[i].step, errors.describe(result))
    problem = problem or text
    if note then note(text) end
  end
  return nil, problem
end

--- The runs of a study that have a checkpoint: they lie in the folder that has the name of its index.
---@param index_path string
---@return string[] paths of their run files, in order
function saved_run.runs_of(index_path)
  return run_paths.runs_of(index_path, function(run)
    return #checkpoint.list(run_paths.checkpoint_folder(run)) > 0
  end)
end

return saved_run
