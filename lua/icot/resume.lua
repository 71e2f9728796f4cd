--- Finds what a run can go on from, and makes sure that it is the same run.
local checkpoint = require 'icot.checkpoint'
local equal_compute = require 'icot.study.equal_compute'
local errors = require 'icot.errors'
local files = require 'icot.files'
local json = require 'icot.json'
local names = require 'icot.names'
local options = require 'icot.options'
local overrides = require 'icot.overrides'
local recipe = require 'icot.recipe'
local runlog = require 'icot.runlog'
local lfs = require 'lfs'

local resume = {}

-- ---- The newest whole checkpoint ----------------------------------------------------------------

--- The newest checkpoint of a run that can be read; broken ones are passed over, with a note.
---@param run_path string
---@param note fun(text: string)
---@return icot.Checkpoint? newest nil: there is none
function resume.newest(run_path, note)
  local found = checkpoint.list(checkpoint.folder_of(run_path))
  for i = #found, 1, -1 do
    local ok, result = pcall(checkpoint.read, found[i].path)
    if ok then return result end
    if not errors.is_user_error(result) then error(result, 0) end
    note(('checkpoint of step %d cannot be used: %s'):format(found[i].step, errors.describe(result)))
  end
end

-- ---- The recipe of a run that is there ----------------------------------------------------------

-- The runs below the folder of a study's index that have a checkpoint.
local function runs_of(index_path)
  local folder, found = files.model_folder(index_path), {}
  if files.kind(folder) ~= 'directory' then return found end
  for name in lfs.dir(folder) do
    local path = folder .. '/' .. name .. '.h5'
    if #checkpoint.list(checkpoint.folder_of(path)) > 0 then found[#found + 1] = path end
  end
  table.sort(found)
  return found
end

--- Raises the error for a run without a checkpoint that could be used.
---@param run_path string of the run file
---@param where string who asks, named at the start of the error
function resume.raise_missing(run_path, where)
  local members = runs_of(run_path)
  if #members > 0 then
    errors.raise('%s: %s: is a study; name one of its runs, such as %s', where, run_path, members[1])
  elseif not files.kind(run_path) and not files.kind(checkpoint.folder_of(run_path)) then
    errors.raise('%s: %s: there is no such run', where, run_path)
  end
  errors.raise('%s: %s: there is no checkpoint of a trained model in %s', where, run_path,
               checkpoint.folder_of(run_path))
end

-- The recipe of a checkpoint, with its results at `output`.
local function load_from(from, output, wanted)
  local invocation, settings = from.description.invocation, {}
  for i, text in ipairs(invocation.settings) do
    settings[i] = overrides.parse(text) or errors.raise('%s: %s', from.path, select(2, overrides.parse(text)))
  end
  for _, setting in ipairs(wanted.settings or {}) do settings[#settings + 1] = setting end
  return recipe.from_source(from.description.recipe_path, from.source, {
    settings = settings, seed = wanted.seed or invocation.seed, output = output,
  })
end

-- Only one run of a study; if it was to train as long as another one did, it still knows how long that is.
local function single_out(whole, path, from)
  for _, run in ipairs(whole.runs) do
    if run.output == path then
      if run.match then equal_compute.restore(run, from.description.config.train) end
      run.waits_for = nil
      whole.runs, whole.is_study, whole.output = { run }, false, path
      return whole
    end
  end
  errors.raise('%s: is no run of the recipe %s that its checkpoint has', path, whole.name)
end

--- The recipe that a run, or a study, was started with.
---@param path string of its run file or index
---@param wanted { settings?: icot.Setting[], seed?: integer } more changes of it
---@return icot.Recipe
---raises an error when there is no checkpoint
function resume.recipe_of(path, wanted)
  local function ignore() end
  local from = resume.newest(path, ignore)
  local member = not from and runs_of(path)[1]
  if member then return load_from(resume.newest(member, ignore), path, wanted) end
  if not from then
    errors.raise('%s: there is no checkpoint in %s to resume it from', path, checkpoint.folder_of(path))
  end
  local found = load_from(from, path, wanted)
  if not found.is_study then return found end
  return single_out(load_from(from, files.folder_of(path) .. '.h5', wanted), path, from)
end

--- How the CoT is cut in the run of a checkpoint. What is a function there comes from the recipe, which is run again.
---@param from icot.Checkpoint
---@return icot.Removal
---raises an error when that recipe cannot be run any more
function resume.removal_of(from)
  local described = from.description
  if not json.is_function_description(described.config.removal.side) then return described.config.removal end
  for _, run in ipairs(load_from(from, nil, {}).runs) do
    if run.arm == described.arm and run.seed == described.seed then return run.config.removal end
  end
  errors.raise('%s: its recipe has no arm %s with seed %s any more', from.path, tostring(described.arm),
               tostring(described.seed))
end

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
  output = true, name = true, device = true,
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
  for _, name in ipairs(names.of(all)) do
    local old, new = before[name], now[name]
    -- of functions a checkpoint can only tell where they stood: they are the same as long as the recipe's text is
    if json.is_function_description(old) and json.is_function_description(new) then
      if from.source ~= run.source then changes[#changes + 1] = name .. ": a function, and the recipe's text is new" end
    elseif old ~= new and not of_no_matter[name] then
      changes[#changes + 1] = ('%s: %s, now %s'):format(name, options.show(old), options.show(new))
    end
  end
  return changes
end

local function require_same(run, from, changes)
  if #changes == 0 then return end
  errors.raise('%s: the recipe has changed since its checkpoint of step %d: %s; --allow-changes goes on all the same',
               run.output, from.description.state.step, table.concat(changes, '; '))
end

-- ---- Both ---------------------------------------------------------------------------------------

-- When the run file was written last.
local function last_sign_of_life(path)
  local seconds = lfs.attributes(path, 'modification')
  return seconds and runlog.time(seconds) or ''
end

---@class icot.Resumption what a run goes on from
---@field from icot.Checkpoint
---@field segment table the row that it adds to /segments
---@field allow_changes boolean
---@field lr_scale number? of the training; nil: as in the checkpoint

-- What has changed since a checkpoint, if that is allowed; nil where nothing has begun yet.
local function check_found(run, from, wanted)
  if from then
    local changes = resume.changes(run, from)
    if not wanted.allow_changes then require_same(run, from, changes) end
    return changes
  elseif files.kind(run.output) then
    errors.raise('%s: there is no checkpoint in %s to resume it from; --force starts it anew', run.output,
                 checkpoint.folder_of(run.output))
  end
end

--- Makes sure, before anything is touched, that a run can be resumed.
---@param run icot.Run
---@param wanted { allow_changes?: boolean }
---raises an error when the recipe has changed, or there are rows but no checkpoint
function resume.check(run, wanted)
  check_found(run, resume.newest(run.output, function() end), wanted)
end

--- Makes sure that the index of a study that is resumed loses no run: it is made anew, of the runs that there are now.
---@param study icot.Recipe
---@param wanted { allow_changes?: boolean }
---raises an error that names a run of the study that is not among them
function resume.check_index(study, wanted)
  local planned = {}
  for _, run in ipairs(study.runs) do planned[run.output] = true end
  for _, path in ipairs(wanted.allow_changes and {} or runs_of(study.output)) do
    if not planned[path] then
      errors.raise('%s: has the run %s, which is not among those now; give --out for another study, or '
                   .. '--allow-changes to leave it out of the index', study.output, path)
    end
  end
end

--- What a run can go on from.
---@param run icot.Run
---@param wanted { allow_changes?: boolean }
---@param note fun(text: string)
---@return icot.Resumption? resumption nil: nothing has begun yet
---raises an error as `resume.check` does
function resume.find(run, wanted, note)
  local from = resume.newest(run.output, note)
  local changes = check_found(run, from, wanted)
  if not from then return nil end
  local stopped_by = from.description.stopped_by
  return {
    from = from, allow_changes = wanted.allow_changes or false,
    segment = {
      step = from.description.state.step, changes = table.concat(changes, '; '),
      stopped_by = stopped_by or 'broken off',
      stopped_time = stopped_by and from.description.time or last_sign_of_life(run.output),
    },
  }
end

--- The same after the training has diverged.
---@param run icot.Run
---@param wanted { allow_changes?: boolean }
---@param note fun(text: string)
---@param lr_scale number from now on
---@return icot.Resumption
function resume.after_divergence(run, wanted, note, lr_scale)
  local resumption = assert(resume.find(run, wanted, note))
  local segment, change = resumption.segment, ('lr_scale: %g'):format(lr_scale)
  segment.stopped_by, segment.stopped_time = 'diverged', runlog.time()
  segment.changes = segment.changes == '' and change or segment.changes .. '; ' .. change
  resumption.lr_scale = lr_scale
  return resumption
end

--- Tells if this is another machine than the one that a checkpoint was written on.
---@param from icot.Checkpoint
---@param note fun(text: string)
function resume.compare_machine(from, note)
  local before = from.description.machine
  local now = runlog.machine()
  local differences = {}
  local function compare(name, old, new)
    if old ~= new then
      differences[#differences + 1] = ('%s %s, before %s'):format(name, tostring(new), tostring(old))
    end
  end
  compare('host', before.host, now.host)
  compare('device', before.device or 'cpu', now.device)
  compare('threads', before.threads, now.threads)
  for _, name in ipairs { 'cpu_kernels', 'openblas', 'icot' } do
    compare(name, before.versions[name], now.versions[name])
  end
  if #differences == 0 then return end
  note('resumed where the last bits may come out differently: ' .. table.concat(differences, '; '))
end

return resume
