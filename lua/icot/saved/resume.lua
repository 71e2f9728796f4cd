--- Finds what a run can continue from, and makes sure that it is the same run.
local checkpoint = require 'icot.saved.checkpoint'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local json = require 'icot.base.json'
local machine = require 'icot.engine.machine'
local names = require 'icot.base.names'
local run_paths = require 'icot.results.run_paths'
local saved_run = require 'icot.saved.saved_run'
local study_record = require 'icot.saved.study_record'
local values = require 'icot.base.values'
local lfs = require 'lfs'

local resume = {}

-- ---- Whether it is the same run -----------------------------------------------------------------

-- Fields of a configuration as 'optimizer.lr' → value; lists and plain values as they are shown.
local function flatten(config, prefix, into)
  for name, value in pairs(config) do
    local path = prefix .. tostring(name)
    if type(value) == 'table' and #value == 0 then
      flatten(value, path .. '.', into)
    else
      into[path] = type(value) == 'table' and json.encode(value) or value
    end
  end
  return into
end

-- Where results lie, what they are called, and what computes them: resume.compare_machine tells of that.
local of_no_matter = {
  output = true, name = true, device = true, ['checkpoint.keep.moments'] = true,
  ['distillation.from.teacher'] = true, ['distillation.from.networks'] = true,
}

--- The fields of the recipe that are not as they were.
---@param run icot.Run
---@param from icot.Checkpoint
---@return string[] changes 'optimizer.lr: 0.001, now 0.0005'
function resume.changes(run, from)
  local before = flatten(from.description.config, '', {})
  local now = flatten(json.decode(run.config_json), '', {})
  local all, changes = {}, {}
  for _, side in ipairs { before, now } do
    for name in pairs(side) do all[name] = true end
  end
  for _, name in ipairs(names.sorted(all)) do
    local old, new = before[name], now[name]
    -- of functions a checkpoint can only tell where they stood: they are the same as long as the recipe's text is
    if json.is_function_description(old) and json.is_function_description(new) then
      if from.source ~= run.source then table.insert(changes, name .. ": a function, and the recipe's text changed") end
    elseif old ~= new and not of_no_matter[name] then
      changes[#changes + 1] = ('%s: %s, now %s'):format(name, values.show(old), values.show(new))
    end
  end
  return changes
end

-- Where a run began stays as it was, whatever is allowed to change.
local function require_same_beginning(run, from)
  for _, name in ipairs { 'fork_from', 'seed' } do
    local before, now = from.description.config[name], run.config[name]
    if before ~= now then
      errors.raise('%s: %s cannot change once a run has begun: it is %s now and was %s; --force starts it over',
                   run.output, name, now or 'not given', before or 'not given')
    end
  end
end

local function require_same(run, from, changes)
  if #changes == 0 then return end
  errors.raise('%s: the recipe has changed since its checkpoint of step %d: %s; --allow-changes resumes it with these '
               .. 'changes', run.output, from.description.state.step, table.concat(changes, '; '))
end

-- ---- What it continues from -----------------------------------------------------------------------

-- When the run file was written last.
local function last_sign_of_life(path)
  local seconds = lfs.attributes(path, 'modification')
  return seconds and machine.time(seconds) or ''
end

---@class icot.Resumption what a run continues from
---@field from icot.Checkpoint
---@field segment table the row that it adds to /segments
---@field is_fork? boolean it is a run of its own that begins there (icot.training.fork)
---@field changes string[] of the recipe since then, from `resume.changes`
---@field allow_changes boolean
---@field lr_scale number? of the training; nil: as in the checkpoint

local ANEW = '--force starts it anew (of a study all runs: remove the files of this one instead)'

-- What has changed since a checkpoint, if that is allowed; nil where nothing has begun yet. `problem`: why the newest
-- cannot be read.
local function check_found(run, from, problem, wanted)
  if from then
    require_same_beginning(run, from)
    local changes = resume.changes(run, from)
    if not wanted.allow_changes then require_same(run, from, changes) end
    return changes
  elseif problem then
    errors.raise_as('no_checkpoint', '%s: %s; %s', run.output, problem, ANEW)
  elseif files.kind(run.output) then
    errors.raise_as('no_checkpoint', '%s: there is no checkpoint in %s to resume it from; %s', run.output,
                    run_paths.checkpoint_folder(run.output), ANEW)
  end
end

--- Makes sure, before anything is touched, that a run can be resumed.
---@param run icot.Run
---@param wanted { allow_changes?: boolean }
---@return boolean has_begun
---raises an error when the recipe has changed, or there are rows but no checkpoint
function resume.check(run, wanted)
  local from, problem = saved_run.newest(run.output)
  check_found(run, from, problem, wanted)
  return from ~= nil
end

--- Makes sure that the index of a study that is resumed loses no run: it is made anew, of the runs that there are now.
---@param study icot.Recipe
---@param wanted { allow_changes?: boolean }
---raises an error that names a run of the study that is not among them, or when a run is in the index's place
function resume.check_index(study, wanted)
  if #checkpoint.list(run_paths.checkpoint_folder(study.output)) > 0 then
    errors.raise('%s: is the run file of a single run; choose another path for the study with --out', study.output)
  end
  local planned = {}
  for _, run in ipairs(study.runs) do planned[run.output] = true end
  local record = study_record.read(study.output)
  for _, path in ipairs(wanted.allow_changes and {} or saved_run.runs_of(study.output)) do
    local is_of_study = not record or study_record.has(record, path) -- else it was left out before, or begun anew
    if is_of_study and not planned[path] then
      errors.raise('%s: its run %s is no longer part of the study; choose another path with --out, or pass '
                   .. '--allow-changes to leave it out of the index', study.output, path)
    end
  end
end

--- What a run can continue from.
---@param run icot.Run
---@param wanted { allow_changes?: boolean }
---@param note fun(text: string)
---@return icot.Resumption? resumption nil: nothing has begun yet
---raises an error as `resume.check` does
function resume.find(run, wanted, note)
  local from, problem = saved_run.newest(run.output, note)
  local changes = check_found(run, from, problem, wanted)
  if not from then return nil end
  local result = from.description.result
  local stopped_by = from.description.stopped_by or result and result.status
  return {
    from = from, allow_changes = wanted.allow_changes or false, changes = changes,
    segment = {
      step = from.description.state.step, changes = table.concat(changes, '; '),
      stopped_by = stopped_by or 'broken off',
      stopped_time = stopped_by and from.description.time or last_sign_of_life(run.output),
    },
  }
end

-- Adds what has changed to the row of /segments.
local function add_to_segment(segment, change)
  segment.changes = segment.changes == '' and change or segment.changes .. '; ' .. change
end

--- Makes sure that the examples are those of the checkpoint, or notes that they are others now, if that is allowed.
---@param resumption icot.Resumption
---@param digest string of the data
---raises an error when they are others, and that is not allowed
function resume.check_data(resumption, digest)
  local from = resumption.from
  if digest == from.description.data then return end
  if not resumption.allow_changes then
    errors.raise('dataset: its examples are not those that %s was trained on; restore them, or pass --allow-changes to '
                 .. 'continue with the new ones', from.path)
  end
  for _, change in ipairs(resumption.changes) do
    if change:find('^dataset[.:]') then return end -- told already
  end
  local change = 'dataset: other examples, from the same options'
  table.insert(resumption.changes, change)
  add_to_segment(resumption.segment, change)
end

--- The same as `resume.find` after the training has diverged.
---@param run icot.Run
---@param wanted { allow_changes?: boolean }
---@param note fun(text: string)
---@param lr_scale number from now on
---@return icot.Resumption
---raises an error as `resume.check` does
function resume.after_divergence(run, wanted, note, lr_scale)
  local resumption = assert(resume.find(run, wanted, note))
  resumption.segment.stopped_by, resumption.segment.stopped_time = 'diverged', machine.time()
  add_to_segment(resumption.segment, ('lr_scale: %g'):format(lr_scale))
  resumption.lr_scale = lr_scale
  return resumption
end

--- Tells if this is another machine than the one that a checkpoint was written on.
---@param from icot.Checkpoint
---@param note fun(text: string)
function resume.compare_machine(from, note)
  local differences = machine.differences(from.description.machine)
  if #differences == 0 then return end
  note('resumed under other conditions, so results may differ in their last bits: ' .. table.concat(differences, '; '))
end

return resume
