--- The runs of a study as processes of their own, several at a time, within a budget of threads and memory.
---
--- Each child is `icot study --worker` (icot.study.worker). What it prints goes to a log beside its run file; what it
--- tells comes here, and a line of it to the user.
local core = require 'icot.engine.core'
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local installation = require 'icot.base.installation'
local json = require 'icot.base.json'
local memory_budget = require 'icot.study.memory_budget'
local process = require 'icot.study.process'
local progress = require 'icot.training.progress'
local run_paths = require 'icot.results.run_paths'

local study_jobs = {}

local BETWEEN_LOOKS = 0.5 -- seconds from one look at signals and memory to the next
local UPDATES_TO_PEAK = 10 -- after this many a child's memory tells what others will need

---@class icot.StudyJob a run under way
---@field number integer of the run
---@field run icot.Run
---@field process icot.Process
---@field shown icot.Progress
---@field log string
---@field result icot.Result? once it has told it
---@field updates integer

-- ---- One child ----------------------------------------------------------------------------------

local function program()
  return installation.prefix and installation.prefix .. '/bin/icot'
    or errors.raise('study: --jobs needs the program icot; a script can only run one run after another')
end

local function job_of(self, run)
  local recipe, options = self.recipe, self.options
  return {
    recipe_path = run.recipe_path, source = run.source, settings = run.invocation.settings,
    seed = run.invocation.seed, output = recipe.output, run = run.output, config = run.config_json,
    label = run.label, threads = self.threads, overwrite = options.overwrite, resume = options.resume,
    allow_changes = options.allow_changes, budget = run.budget, traceback = options.traceback,
  }
end

-- What takes the results in may have failed, and need not do so again: the first problem is the one to tell.
local function finish(self, number, run, result)
  self.queue:finish(number, result)
  if not self.is_giving_up then self.on_result(run, result) end
end

local function start(self, number)
  local run, result = self.queue:take(number)
  if result then return finish(self, number, run, result) end
  local log = run_paths.log(run.output)
  local label = run.label
  local job = {
    number = number, run = run, log = log, updates = 0,
    shown = progress.new { label = label .. (' '):rep(self.widest - #label), stream = self.options.err,
                           quiet = self.options.quiet },
  }
  job.process = process.start({ self.program, 'study', '--worker' }, {
    log = log, append = self.options.resume, input = json.encode(job_of(self, run)),
  })
  job.shown:note(('started with %s, log %s'):format(counted.of(self.threads, 'thread'), log))
  table.insert(self.jobs, job)
end

-- JSON has no NaN, so null was told.
local function received(result)
  for name, value in pairs(result) do
    if value == json.null then result[name] = 0 / 0 end
  end
  result.accuracy = result.accuracy or 0 / 0
  return result
end

local function listen(job)
  for _, line in ipairs(job.process:lines()) do
    local told = json.decode(line)
    if told and told.event == 'note' then
      job.shown:note(told.text)
    elseif told and told.event == 'warning' then
      job.shown:warn(told.text)
    elseif told and told.event == 'at' then
      job.updates = told.updates
    elseif told and told.event == 'result' then
      job.result = received(told.result)
    end
  end
end

-- The last line of a log, for a child that died without a word.
local function last_words(path)
  local file, last = io.open(path), nil
  for line in file and file:lines() or function() end do
    if line:find('%S') then last = line end
  end
  if file then file:close() end
  return last and errors.one_line(last)
end

-- What became of a child that told no result.
local function result_of_dead(job, how, number, was_stopped)
  if was_stopped and how == 'killed' then return { status = 'interrupted', accuracy = 0 / 0 } end
  local last = last_words(job.log)
  return {
    status = 'failed',
    message = ('its process ended with %s %d%s'):format(
      how == 'killed' and 'signal' or 'exit code', number,
      last and ('; the last line of its log: "%s"'):format(last) or ''),
  }
end

local function tell_end(result, shown)
  if result.status == 'failed' then return end -- is told as an error
  local accuracy = result.accuracy == result.accuracy and (', accuracy %.3f'):format(result.accuracy) or ''
  shown:note(('%s%s%s'):format(result.status, accuracy,
                               result.updates and ' after ' .. counted.of(result.updates, 'update') or ''))
end

-- ---- All of them --------------------------------------------------------------------------------

local function memory_of(jobs, budget)
  local now = {}
  for i, job in ipairs(jobs) do
    local resident, peak = job.process:memory()
    now[i] = resident
    if job.updates >= UPDATES_TO_PEAK then budget:note_peak(peak) end
  end
  return now
end

local function start_what_fits(self)
  while #self.jobs < self.most do
    local number = self.queue:next()
    if not number or not self.memory:allows_another(memory_of(self.jobs, self.memory)) then return end
    start(self, number)
  end
end

local function listen_to_all(self)
  for i = #self.jobs, 1, -1 do
    local job = self.jobs[i]
    local how, number = job.process:ended() -- first: what it told before its end is in the pipe by then
    listen(job)
    if how then
      table.remove(self.jobs, i)
      local result = job.result or result_of_dead(job, how, number, self.is_stopping)
      tell_end(result, job.shown)
      finish(self, job.number, job.run, result)
    end
  end
end

local function stop_all(self)
  if self.is_stopping then return end
  self.is_stopping = true
  for _, job in ipairs(self.jobs) do job.process:terminate() end
end

local function processes_of(jobs)
  local list = {}
  for i, job in ipairs(jobs) do list[i] = job.process end
  return list
end

local function widest(runs)
  local width = 0
  for _, run in ipairs(runs) do width = math.max(width, #run.label) end
  return width
end

local function run_all(self)
  repeat
    if core.C.icot_interrupted() ~= 0 then stop_all(self) end
    if not self.is_stopping then start_what_fits(self) end
    process.wait_for_any(processes_of(self.jobs), BETWEEN_LOOKS)
    listen_to_all(self)
  until #self.jobs == 0 and (self.is_stopping or not self.queue:next())
end

--- Runs the runs of a queue in processes.
---@param recipe icot.Recipe
---@param options icot.StudyOptions `jobs`: most processes at a time; `memory`: bytes that they may take in all
---@param queue icot.RunQueue
---@param on_result fun(run: icot.Run, result: icot.Result) called as they end
---raises an error: a process cannot be started. Those under way are ended in order then.
function study_jobs.run(recipe, options, queue, on_result)
  local most = math.min(options.jobs, #recipe.runs)
  local self = {
    recipe = recipe, options = options, queue = queue, on_result = on_result, jobs = {},
    most = most, threads = math.max(1, math.floor(core.C.icot_threads() / most)), program = program(),
    widest = widest(recipe.runs), memory = memory_budget.new(options.memory, process.memory_available),
  }
  local ok, problem = pcall(run_all, self)
  if ok then return end
  self.is_giving_up = true
  stop_all(self)
  while #self.jobs > 0 do
    process.wait_for_any(processes_of(self.jobs), BETWEEN_LOOKS)
    listen_to_all(self)
  end
  error(problem, 0)
end

return study_jobs
