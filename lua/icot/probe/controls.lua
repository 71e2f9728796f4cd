--- Models that probes are compared with: what can be read out of them was not put there by internalizing the CoT.
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local not_a_run = require 'icot.saved.not_a_run'
local saved_run = require 'icot.saved.saved_run'

local controls = {}

local function is_trained_without_cot(found)
  return found ~= nil and found.model_folder ~= nil and found.description.config.method == 'no_cot'
end

-- The other runs of a study that have the same seed, by their names: FOLDER/ARM-SEED.h5.
local function runs_beside(run_path, seed)
  local folder, ending, found = files.folder_of(run_path), ('-%d.h5'):format(seed), {}
  for _, name in ipairs(files.names_in(folder)) do
    local path = folder .. '/' .. name
    if name:sub(-#ending) == ending and path ~= run_path then found[#found + 1] = path end
  end
  return found
end

--- The run of the same study that has the same seed, and was trained without CoT.
---@param run_path string
---@param description table of a checkpoint of that run
---@return string? path nil: the run is of no study, or none of its arms has the method no_cot
function controls.no_cot_beside(run_path, description)
  local own_name = ('%s-%d.h5'):format(description.arm, description.seed)
  if run_path:match('[^/]*$') ~= own_name or description.config.method == 'no_cot' then return nil end
  for _, path in ipairs(runs_beside(run_path, description.seed)) do
    if is_trained_without_cot(saved_run.newest(path)) then return path end
  end
end

--- The newest checkpoint of a run without CoT.
---@param run_path string
---@return icot.Checkpoint
---raises an error when there is none, or the run has another method
function controls.no_cot(run_path)
  local found = saved_run.newest(run_path)
  if not found or not found.model_folder then return not_a_run.raise_missing(run_path, 'probe: --no-cot') end
  if not is_trained_without_cot(found) then
    errors.raise("probe: --no-cot %s: its method is '%s', expected 'no_cot'", run_path, found.description.config.method)
  end
  return found
end

--- Makes sure that a run has not seen the examples that probes are tested on.
---@param found icot.Checkpoint
---@param data icot.Dataset of the run that is probed
---raises an error when its test examples are others
function controls.check_same_test(found, data)
  local test = found.description.data:match('^%S+ %S+ (%S+)') -- train, valid, test
  if test == data.test:digest() then return end
  errors.raise('probe: %s: its test examples differ from those of the run to probe', found.path)
end

return controls
