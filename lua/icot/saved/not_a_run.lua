--- Tells somebody who wants to look at a run what the path that was given names instead of one.
local checkpoint = require 'icot.saved.checkpoint'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local model_file = require 'icot.model.model_file'
local run_paths = require 'icot.results.run_paths'

local not_a_run = {}

-- The runs of a study that have left a checkpoint or a model.
local function members_of(index_path)
  return run_paths.runs_of(index_path, function(run)
    local has_model = model_file.is_in(run_paths.model_folder(run))
    return files.kind(run) == 'file' and (has_model or #checkpoint.list(run_paths.checkpoint_folder(run)) > 0)
  end)
end

-- What a path is, and what to do about it; nil: it may be a run.
local function describe(path)
  local members, run, command = members_of(path), run_paths.of_which_findings(path)
  if #members > 0 and path:find('%.h5$') then return 'is a study; name one of its runs, such as ' .. members[1] end
  if run then return ('was written by icot %s; name its run, %s'):format(command, run) end
  if path:find('%.lua$') then
    local name = path:match('([^/]*)%.lua$')
    return ('is a recipe; name the run file that it wrote, such as results/%s.h5'):format(name)
  elseif checkpoint.is_at(path) then
    local its_run = run_paths.of_checkpoint(path)
    return 'is a checkpoint; name its run' .. (its_run and ', ' .. its_run or '')
  end
  local above = path:match('^(.*)/checkpoints/*$')
  if above and files.kind(above .. '.h5') then
    return ('has the checkpoints of a run; name that, %s.h5, or one of them'):format(above)
  end
  local is_there = files.kind(path) or files.kind(run_paths.checkpoint_folder(path))
  return not is_there and 'there is no such run' or nil
end

--- Makes sure that a path is not that of something else than a run.
---@param path string
---@param where string who asks, named at the start of the error
---raises an error that says what it is instead: a study, what a command has found, a recipe, a checkpoint; or nothing
function not_a_run.refuse(path, where)
  local problem = describe(path)
  if problem then errors.raise('%s: %s: %s', where, path, problem) end
end

--- Raises the error for a run without a checkpoint that could be used.
---@param path string of the run file
---@param where string who asks, named at the start of the error
function not_a_run.raise_missing(path, where)
  not_a_run.refuse(path, where)
  errors.raise('%s: %s: there is no checkpoint of a trained model in %s', where, path,
               run_paths.checkpoint_folder(path))
end

return not_a_run
