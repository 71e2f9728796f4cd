--- The stages of a run as it has kept them: the checkpoints that end one, and the newest.
local checkpoint = require 'icot.checkpoint'
local files = require 'icot.files'
local saved_run = require 'icot.saved_run'

local stages = {}

-- Whether a checkpoint ends a stage or is the last one.
local function is_wanted(description, is_last)
  return description.kept_for.stage or is_last
end

-- One that is wanted, or nil; and whether it is gone since it was listed, as it may be while the run goes on.
local function read(path, is_last)
  local ok, result = pcall(function()
    return is_wanted(checkpoint.read_description(path), is_last) and checkpoint.read(path) or nil
  end)
  if ok then return result, false end
  if files.kind(path) then error(result, 0) end
  return nil, true
end

-- All that are there now; nil if one has gone meanwhile.
local function read_all(run_path)
  local all, found = checkpoint.list(checkpoint.folder_of(run_path)), {}
  for i, each in ipairs(all) do
    local wanted, is_gone
    if each.step > 0 then wanted, is_gone = read(each.path, i == #all) end
    if is_gone then return nil end
    found[#found + 1] = wanted
  end
  return found
end

--- The checkpoints of a run that end a stage, and its last one, the oldest first.
---@param run_path string of the run file
---@param where string who asks, named at the start of an error
---@return icot.Checkpoint[]
--- Errors: there are none, or one that is damaged.
function stages.checkpoints(run_path, where)
  local found
  repeat found = read_all(run_path) until found
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
