--- The recipe that a run, or a study, was started with: its text was kept, by a checkpoint or for the study, and is run
--- once more.
local errors = require 'icot.base.errors'
local given_budget = require 'icot.recipe.given_budget'
local json = require 'icot.base.json'
local not_a_run = require 'icot.saved.not_a_run'
local overrides = require 'icot.recipe.overrides'
local recipe = require 'icot.recipe'
local run_paths = require 'icot.results.run_paths'
local saved_run = require 'icot.saved.saved_run'
local study_record = require 'icot.saved.study_record'

local saved_recipe = {}

-- A recipe as it was started, with its results at `output`. where: what tells how that was.
local function load_started(started, where, output, wanted)
  local invocation = started.invocation
  local settings = overrides.read(invocation.settings, where)
  for _, setting in ipairs(wanted.settings or {}) do settings[#settings + 1] = setting end
  return recipe.from_source(started.recipe_path, started.source, {
    settings = settings, seed = wanted.seed or invocation.seed, output = output, is_kept = true,
  })
end

-- The recipe of a checkpoint.
local function load_from(from, output, wanted)
  local description = from.description
  return load_started({
    recipe_path = description.recipe_path, source = from.source, invocation = description.invocation,
  }, from.path, output, wanted)
end

-- The recipe of a study: as it was started last, or, where that is not known, as the first of its runs was.
local function load_study(index_path, wanted)
  local record = study_record.read(index_path)
  if record then return load_started(record, index_path, index_path, wanted) end
  for _, member in ipairs(saved_run.runs_of(index_path)) do
    local found = saved_run.newest(member)
    if found then return load_from(found, index_path, wanted) end
  end
end

-- The run of a study that has its results at a path.
local function run_at(path, whole)
  for _, run in ipairs(whole.runs) do
    if run_paths.name_of(run.output) == run_paths.name_of(path) then return run end
  end
  errors.raise('%s: is not one of the runs of the recipe %s in its checkpoint', path, whole.name)
end

-- Makes a study's recipe that of only one run; if that was to train as long as another one did, it still knows how long
-- that is, unless it is told something else now.
local function single_out(whole, path, from, wanted)
  local run = run_at(path, whole)
  if run.match and not given_budget.is_set_by(wanted.settings, run) then
    run = given_budget.restore(run, from.description.config.train)
  end
  run.match, run.waits_for, run.label = nil, nil, whole.name
  whole.runs, whole.is_study, whole.output, whole.config_json = { run }, false, path, run.config_json
  return whole
end

--- The recipe that a run, or a study, was started with.
---@param path string of its run file or index
---@param wanted { settings?: icot.Setting[], seed?: integer } more changes of it
---@return icot.Recipe
---raises an error when there is no checkpoint
function saved_recipe.of(path, wanted)
  local from, problem = saved_run.newest(path)
  local study = not from and load_study(path, wanted)
  if study then return study end
  if not from and problem then errors.raise('--resume: %s: %s', path, problem) end
  if not from then not_a_run.raise_missing(path, '--resume') end
  local found = load_from(from, path, wanted)
  if not found.is_study then return found end
  return single_out(load_from(from, run_paths.index_of(path), wanted), path, from, wanted)
end

--- How the CoT is cut in the run of a checkpoint. What is a function there comes from the recipe, which is run again.
---@param from icot.Checkpoint
---@return icot.Removal
---raises an error when that recipe cannot be run any more
function saved_recipe.removal(from)
  local described = from.description
  if not json.is_function_description(described.config.removal.side) then return described.config.removal end
  for _, run in ipairs(load_from(from, nil, {}).runs) do
    if run.arm == described.arm and run.seed == described.seed then return run.config.removal end
  end
  errors.raise('%s: its recipe no longer has an arm %s with seed %s', from.path, tostring(described.arm),
               tostring(described.seed))
end

return saved_recipe
