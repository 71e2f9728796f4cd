--- Runs all that a recipe stands for, one run after another or in processes of their own, and compares the results.
local arm_summary = require 'icot.study.arm_summary'
local checkpoint = require 'icot.saved.checkpoint'
local checks = require 'icot.study.checks'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local index_file = require 'icot.study.index_file'
local interrupt = require 'icot.engine.interrupt'
local jobs = require 'icot.study.jobs'
local lock = require 'icot.engine.lock'
local memory_budget = require 'icot.study.memory_budget'
local model_file = require 'icot.model.model_file'
local orphan = require 'icot.study.orphan'
local progress = require 'icot.training.progress'
local result_table = require 'icot.study.result_table'
local run_paths = require 'icot.results.run_paths'
local run_queue = require 'icot.study.run_queue'
local study_record = require 'icot.saved.study_record'
local terminal = require 'icot.base.terminal'
local text_table = require 'icot.base.text_table'
local trainer = require 'icot.training.trainer'

local study = {}

---@class icot.StudyOptions
---@field overwrite? boolean replace results that are there
---@field resume? boolean continue results that are there
---@field allow_changes? boolean resume even if the recipe has changed
---@field quiet? boolean no progress
---@field traceback? boolean show where in the code a run failed
---@field threads? integer that the user asked for, which the command to resume with repeats
---@field jobs? integer runs at a time, in processes of their own; nil: one after another in this process
---@field memory? number bytes that these processes may take in all
---@field train? fun(run: icot.Run, options: table): icot.Result default: icot.training.trainer.run
---@field out? file* where the table goes; default: io.stdout
---@field err? file* where progress and errors go; default: io.stderr

---@class icot.Result: icot.RunResult of a run that failed or could not start the status is all there is, and
---@field message string? why

local function was_interrupted()
  return core.C.icot_interrupted() ~= 0
end

-- Trains one run; what it raises becomes the message of a failed result.
local function train_one(recipe, run, options)
  local train = options.train or trainer.run
  local shown = progress.new { label = run.label, stream = options.err, quiet = options.quiet }
  local _, result = xpcall(function()
    if options.resume and recipe.is_study then
      orphan.wait_for(run.output, function(text) shown:note(text) end)
    end
    return train(run, {
      progress = shown, overwrite = options.overwrite, resume = options.resume, allow_changes = options.allow_changes,
    })
  end, function(raised)
    if interrupt.is_interrupt(raised) then return { status = 'interrupted' } end -- before there was anything to save
    return { status = 'failed', message = errors.describe(raised, options.traceback) }
  end)
  shown:finish()
  return result
end

local function tell_failure(recipe, run, result, stream)
  if result.status ~= 'failed' then return end
  terminal.tell((recipe.is_study and run.label .. ': ' or '') .. result.message, stream)
end

-- A field that all runs of a study share; nil: they differ in it.
local function common(runs, field)
  local value = runs[1].config[field]
  for _, run in ipairs(runs) do
    if run.config[field] ~= value then return nil end
  end
  return value
end

-- Precision and device are those that the recipe asks for; each run's file has those that it got.
local function create_index(recipe, overwrite)
  local runs = {}
  for i, run in ipairs(recipe.runs) do runs[i] = { arm = run.arm, seed = run.seed, path = run.output } end
  return index_file.create {
    path = recipe.output, force = overwrite, recipe = recipe.name, source = recipe.source, runs = runs,
    config = recipe.config_json,
    attributes = { precision = common(recipe.runs, 'precision'), device = common(recipe.runs, 'device') },
  }
end

local function add_to_index(index, run, result, collapse_below)
  index:summary {
    arm = run.arm, seed = run.seed, method = run.config.method, status = result.status,
    removed = result.removed or 0, accuracy = result.accuracy or 0 / 0, updates = result.updates or 0,
    tokens = result.tokens or 0, flops = result.flops or 0, seconds = result.seconds or 0,
    explicit_accuracy = result.explicit_accuracy or 0 / 0,
    collapsed = arm_summary.is_collapsed(result, collapse_below),
  }
end

-- A word of a command, in quotes if a shell would take it for something else.
local function for_shell(word)
  return word:find("^[%w_%-./]+$") and word or "'" .. word:gsub("'", "'\\''") .. "'"
end

-- The command that resumes what was interrupted, computed as it was.
local function command_to_resume(recipe, options)
  local words = { options.jobs and 'icot study --resume' or 'icot --resume', for_shell(recipe.output) }
  local function add(format, value)
    if value then words[#words + 1] = format:format(value) end
  end
  add('--jobs %d', options.jobs)
  add('--threads %d', options.threads)
  add('--memory %g', options.memory and options.memory / memory_budget.GIB)
  return table.concat(words, ' ')
end

local function any_has_begun(recipe)
  for _, run in ipairs(recipe.runs) do
    if #checkpoint.list(run_paths.checkpoint_folder(run.output)) > 0 then return true end
  end
  return false
end

local function print_paths(recipe, results, end_state, options)
  local stream = options.out
  stream:write(('\n%-9s %s\n'):format(recipe.is_study and 'study' or 'run file', recipe.output))
  local only = not recipe.is_study and results[1]
  if only and only.model_path then stream:write(('model     %s\n'):format(only.model_path)) end
  if end_state == 'interrupted' and any_has_begun(recipe) then
    stream:write(('resume    %s\n'):format(command_to_resume(recipe, options)))
  end
end

local function any_has_ended(arms)
  for _, arm in ipairs(arms) do
    if arm.finished > 0 then return true end
  end
  return false
end

-- The results; of a study with several seeds also what its arms come to.
local function print_results(recipe, results, end_state, options)
  local stream = options.out
  text_table.print(stream, result_table.lines(recipe.runs, results))
  local arms = arm_summary.of(recipe.runs, results, recipe.collapse_below)
  if #recipe.runs > #arms and any_has_ended(arms) then text_table.print(stream, result_table.arm_lines(arms)) end
  print_paths(recipe, results, end_state, options)
end

-- Runs them one after another, until all are done or the user ends it.
local function run_in_turn(recipe, options, queue, on_result)
  local number = queue:next()
  while number and not was_interrupted() do
    local run, result = queue:take(number)
    result = result or train_one(recipe, run, options)
    queue:finish(number, result)
    on_result(run, result)
    if result.status == 'interrupted' then return end
    number = queue:next()
  end
end

-- How the study ended: 'failed' if one of its runs did; 'interrupted' if one was, or did not even start.
local function end_state_of(recipe, results)
  local state = 'finished'
  for i in ipairs(recipe.runs) do
    local result = results[i]
    if result and result.status == 'failed' then return 'failed' end
    if not arm_summary.has_ended(result) then state = 'interrupted' end
  end
  return state
end

-- Runs them all; gives their results and how the study ended.
local function run_all(recipe, options, index)
  local queue = run_queue.new(recipe.runs)
  local function on_result(run, result)
    tell_failure(recipe, run, result, options.err)
    if index then add_to_index(index, run, result, recipe.collapse_below) end
  end
  if options.jobs then
    jobs.run(recipe, options, queue, on_result)
  else
    run_in_turn(recipe, options, queue, on_result)
  end
  return queue.results, end_state_of(recipe, queue.results)
end

-- Removes what an earlier study has left in the place of the runs, if nobody is at work on any of them: whoever resumes
-- this study, should it be broken off, shall take nothing of that for a run of this one.
local function clear_away(recipe)
  for _, run in ipairs(recipe.runs) do lock.take(run.output):release() end
  for _, run in ipairs(recipe.runs) do
    lock.with(run.output, function()
      files.remove_tree(run_paths.checkpoint_folder(run.output))
      model_file.remove(run.model_output)
      os.remove(run.output)
    end)
  end
end

-- The same with the index of a study, which is made anew even if the study is resumed.
local function run_with_index(recipe, options)
  return lock.with(recipe.output, function()
    if options.overwrite then clear_away(recipe) end
    study_record.write(recipe)
    local index = create_index(recipe, options.overwrite or options.resume)
    local results, end_state = run_all(recipe, options, index)
    for _, arm in ipairs(arm_summary.of(recipe.runs, results, recipe.collapse_below)) do index:arm(arm) end
    index:close(end_state)
    return results, end_state
  end)
end

--- Runs a recipe: every run, the index file of a study, and the table of results.
---@param recipe icot.Recipe
---@param options icot.StudyOptions
---@return boolean finished false: a run failed, or the user ended it
---@return table<integer, icot.Result> results of the runs that were started, by their numbers
---raises an error: results that are there already, folders that cannot be written to, another process that is at work
--- on them.
--- A run that fails is reported, and the others continue.
function study.run(recipe, options)
  options.out, options.err = options.out or io.stdout, options.err or io.stderr
  local check = options.resume and checks.resumed or checks.new
  check(recipe, options)
  if not options.quiet then checks.tell_alike(recipe, function(text) terminal.tell(text, options.err) end) end
  local run = recipe.is_study and run_with_index or run_all
  local results, end_state = run(recipe, options)
  if recipe.is_study or end_state ~= 'failed' then
    print_results(recipe, results, end_state, options)
  end
  return end_state == 'finished', results
end

return study
