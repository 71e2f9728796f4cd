--- The stages of a run as it has kept them: the checkpoints that end one, and the newest.
local checkpoint = require 'icot.checkpoint'
local saved_run = require 'icot.saved_run'

local stages = {}

-- Whether a checkpoint ends a stage or is the last one.
local function is_wanted(description, is_last)
  return description.kept_for.stage or is_last
end

--- The checkpoints of a run that end a stage, and its last one, the oldest first.
---@param run_path string of the run file
---@param where string who asks, named at the start of an error
---@return icot.Checkpoint[]
--- Errors: there are none, or one that is damaged.
function stages.checkpoints(run_path, where)
  local all, found = checkpoint.list(checkpoint.folder_of(run_path)), {}
  for i, each in ipairs(all) do
    if each.step > 0 and is_wanted(checkpoint.read_description(each.path), i == #all) then
      found[#found + 1] = checkpoint.read(each.path)
    end
  end
  if #found == 0 then saved_run.raise_missing(run_path, where) end
  return found
end

--- Some of them, evenly spread, the first and the last among them.
---@generic T
---@param found T[]
---@param most integer at least 1; of a single one that is the last
---@return T[]
function stages.spread(found, most)
  local chosen, count = {}, math.min(most, #found)
  for i = 1, count do
    chosen[i] = found[count == 1 and #found or 1 + math.floor((i - 1) * (#found - 1) / (count - 1) + 0.5)]
  end
  return chosen
end

return stages
