--- What a study makes sure of before anything of it begins.
local cleanup = require 'icot.base.cleanup'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local fork = require 'icot.training.fork'
local json = require 'icot.base.json'
local methods = require 'icot.schedule.methods'
local model_file = require 'icot.model.model_file'
local resume = require 'icot.saved.resume'
local run_paths = require 'icot.results.run_paths'
local starting_model = require 'icot.model.starting_model'
local tasks = require 'icot.data.tasks'
local values = require 'icot.base.values'

local checks = {}

local RESULT_ADVICE = '; --resume continues it, --force overwrites it, --out chooses another path'

local function check_run(run, overwrite)
  files.require_free(run.output, overwrite, RESULT_ADVICE)
  files.require_writable(files.folder_of(run.output))
  local checkpoints = run_paths.checkpoint_folder(run.output)
  if not overwrite and files.kind(checkpoints) then
    errors.raise('%s: has checkpoints already; --resume continues from them, --force overwrites them', checkpoints)
  end
  local kind = files.kind(run.model_output)
  if not kind and not files.is_dangling(run.model_output) then return end
  if kind ~= 'directory' then
    errors.raise('%s: is a %s, expected the folder of the model', run.model_output, kind or 'link that leads nowhere')
  end
  files.require_writable(run.model_output)
  for _, name in ipairs(model_file.NAMES) do
    files.require_free(run.model_output .. '/' .. name, overwrite)
  end
end

--- Makes sure that every result can be written, before the first run starts.
---@param recipe icot.Recipe
---@param overwrite? boolean
---raises an error: a result is there already; a folder cannot be made or written to.
function checks.outputs(recipe, overwrite)
  if recipe.is_study then
    files.require_free(recipe.output, overwrite, RESULT_ADVICE)
    files.require_writable(files.folder_of(recipe.output))
  end
  for _, run in ipairs(recipe.runs) do check_run(run, overwrite) end
end

-- Loads the examples of a run, for which a model that is to be made has to have room.
local function load_once(run)
  local data = tasks.load_for_run(run.config)
  cleanup.always(function() data:free() end, starting_model.context_for, run.config, data)
end

-- What the examples of a run, and the room that they take, depend on.
local function key_of_data(config)
  local removal = config.removal
  local of_pauses = methods.has_pauses(config.method) and removal
  return json.encode { config.dataset, removal.unit, of_pauses, config.model.context or 0 }
end

-- Makes sure that each of the datasets can be had: what is wrong with one is told once, and before anything is begun.
local function check_datasets(recipe)
  local known = {}
  for _, run in ipairs(recipe.runs) do
    local key = key_of_data(run.config)
    if not known[key] then
      known[key] = true
      local ok, problem = pcall(load_once, run)
      if not ok and not errors.is_user_error(problem) then error(problem, 0) end
      if not ok then errors.raise('%s: %s', run.label, problem.message) end
    end
  end
end

-- What a training without a schedule makes of its configuration: of how CoT is cut only where the rest then stands.
local function used_of(config)
  local used = values.copy(config)
  used.name, used.output, used.schedule = nil, nil, nil
  used.removal = { positions = config.removal.positions }
  return json.encode(used)
end

--- Tells of runs that are trained alike, as those of a grid over something that the method of an arm does not use.
---@param recipe icot.Recipe
---@param tell fun(text: string)
function checks.tell_alike(recipe, tell)
  local first, told = {}, {}
  for _, run in ipairs(recipe.runs) do
    local method = run.config.method
    local key = not methods.has_schedule(method) and not methods.is_distillation(method) and used_of(run.config)
    local other = key and first[key]
    if key and not other then first[key] = run end
    if other and not told[run.arm] then
      told[run.arm] = true
      tell(('%s is trained as %s is: %s makes nothing of what they differ in; give that grid to the other arms alone')
        :format(run.arm, other.arm, method))
    end
  end
end

-- What lies in the place of the study's own runs goes when it begins, so none of them can start from it.
local function refuse_own_models(recipe)
  for _, run in ipairs(recipe.runs) do
    local config = run.config
    for name, path in pairs {
      ['model.pretrained'] = config.model.pretrained,
      ['distillation.teacher'] = config.distillation and config.distillation.teacher,
    } do
      for _, other in ipairs(recipe.runs) do
        if run_paths.holds(other.output, path) then
          errors.raise('%s: %s: %s belongs to %s, in whose place a run of this study would go; give --out', run.label,
                       name, path, other.output)
        end
      end
    end
  end
end

--- Makes sure that a study, or a single run, can begin.
---@param recipe icot.Recipe
---@param options icot.StudyOptions
---raises an error as `outputs`; a fork has nowhere to begin; of a study a dataset that cannot be had
function checks.new(recipe, options)
  checks.outputs(recipe, options.overwrite)
  fork.check(recipe.runs)
  if not recipe.is_study or options.train then return end
  refuse_own_models(recipe)
  check_datasets(recipe)
end

-- Whether a run of a study that is resumed has not begun. One whose checkpoints are broken or gone fails when its turn
-- comes, and keeps the others from nothing.
local function can_begin(recipe, run, options)
  local ok, has_begun = pcall(resume.check, run, options)
  if ok then return not has_begun end
  if not recipe.is_study or not errors.is(has_begun, 'no_checkpoint') then error(has_begun, 0) end
  return false
end

--- The same for one that is resumed: what is there has to be what is wanted.
---@param recipe icot.Recipe
---@param options icot.StudyOptions
---raises an error as `outputs` and icot.saved.resume do
function checks.resumed(recipe, options)
  checks.outputs(recipe, true)
  if recipe.is_study then resume.check_index(recipe, options) end
  local to_begin = {}
  for _, run in ipairs(recipe.runs) do -- one that waits for its budget is checked when it has it
    if not run.match and can_begin(recipe, run, options) then to_begin[#to_begin + 1] = run end
  end
  fork.check(to_begin)
end

return checks
