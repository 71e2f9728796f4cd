--- The stages of a run as it has kept them: the checkpoints that end one, and the newest.
local checkpoint = require 'icot.saved.checkpoint'
local errors = require 'icot.base.errors'
local not_a_run = require 'icot.saved.not_a_run'
local run_paths = require 'icot.results.run_paths'

local kept_stages = {}

local MOST_ROUNDS = 5 -- how often the folder is listed before giving up

-- Whether a checkpoint ends a stage or is the last one.
local function is_wanted(description, is_last)
  return checkpoint.ends_stage(description) or is_last
end

-- A checkpoint that is wanted, or nil; and whether it is gone since it was listed, as it may be while its run lasts.
local function read(folder, listed, is_last)
  local ok, result = pcall(function()
    return is_wanted(checkpoint.read_description(listed.path), is_last) and checkpoint.read(listed.path) or nil
  end)
  if ok then return result, false end
  for _, each in ipairs(checkpoint.list(folder)) do
    if each.path == listed.path then error(result, 0) end
  end
  return nil, true
end

-- Those that are there now; nil if the last one has gone meanwhile, since there is a newer one then.
local function read_all(folder)
  local all, found, last_is_gone = checkpoint.list(folder), {}, false
  for i, each in ipairs(all) do
    if each.step > 0 then found[#found + 1], last_is_gone = read(folder, each, i == #all) end
  end
  return not last_is_gone and found or nil
end

--- The checkpoints of a run that end a stage, and its last one, the oldest first.
---@param run_path string of the run file
---@param where string who asks, named at the start of an error
---@return icot.Checkpoint[]
---raises an error: there are none, or one that is damaged.
function kept_stages.checkpoints(run_path, where)
  local folder = run_paths.checkpoint_folder(run_path)
  for _ = 1, MOST_ROUNDS do
    local found = read_all(folder)
    if found and #found == 0 then not_a_run.raise_missing(run_path, where) end
    if found then return found end
  end
  errors.raise('%s: %s: its newest checkpoint was replaced each time before it was read; try again', where, run_path)
end

--- Some of them, evenly spread, the first and the last among them.
---@generic T
---@param found T[]
---@param most integer at least 1; of a single one that is the last
---@return T[]
function kept_stages.spread(found, most)
  local chosen, count = {}, math.min(most, #found)
  for i = 1, count do
    chosen[i] = found[count == 1 and #found or 1 + math.floor((i - 1) * (#found - 1) / (count - 1) + 0.5)]
  end
  return chosen
end

return kept_stages
