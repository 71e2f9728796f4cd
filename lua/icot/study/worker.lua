--- The side of a child process of `icot study`: trains one run of a study, told on the standard input, and tells its
--- parent how it goes, one JSON object per line on process.CHANNEL:
---
---     { "event": "at", "updates": 20 }                  now and then: updates since this process began
---     { "event": "note", "text": "valid: step …" }      what the user should see
---     { "event": "warning", "text": "no checkpoint …" } the same, also with --quiet
---     { "event": "result", "result": { … } }            the last; see icot.Result
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local given_budget = require 'icot.recipe.given_budget'
local interrupt = require 'icot.engine.interrupt'
local json = require 'icot.base.json'
local orphan = require 'icot.study.orphan'
local overrides = require 'icot.recipe.overrides'
local process = require 'icot.study.process'
local progress = require 'icot.training.progress'
local recipe = require 'icot.recipe'
local terminal = require 'icot.base.terminal'

local study_worker = {}

local BETWEEN_EVENTS = 1 -- seconds from one `at` to the next, at least

---@class icot.Job what a child has to do
---@field recipe_path string
---@field source string the recipe's text, as it was when the study began
---@field settings string[] texts of --set
---@field seed? integer takes the place of the recipe's
---@field output string the index of the study
---@field run string path of the run file
---@field config string the run's configuration as JSON, as the parent has it
---@field label string
---@field budget? { limit: string, amount: number } instead of the recipe's
---@field threads integer
---@field overwrite? boolean
---@field resume? boolean
---@field allow_changes? boolean
---@field traceback? boolean

-- JSON on one line.
local function line_of(event)
  return (json.encode(event):gsub('%s*\n%s*', ' ')) .. '\n'
end

-- A parent that is gone wants nothing any more.
local function tell(event)
  if not process.write(process.CHANNEL, line_of(event)) then interrupt.request() end
end

-- The display of the run: as ever in the log, the most important of it told to the parent.
local function told_progress(label)
  local shown, updates, last = progress.new { label = label, stream = io.stderr }, 0, -math.huge
  function shown:update(state)
    updates = updates + 1
    local now = core.C.icot_seconds()
    if now - last >= BETWEEN_EVENTS then
      last = now
      tell { event = 'at', updates = updates }
    end
    getmetatable(self).update(self, state)
  end
  function shown:note(text)
    tell { event = 'note', text = errors.one_line(text) }
    getmetatable(self).warn(self, text)
  end
  function shown:warn(text)
    tell { event = 'warning', text = errors.one_line(text) }
    getmetatable(self).warn(self, text)
  end
  return shown
end

-- The run that the parent means. A recipe that gives something else each time it is read makes no study.
local function find_run(job)
  local whole = recipe.from_source(job.recipe_path, job.source, {
    settings = overrides.read(job.settings, 'study'), seed = job.seed, output = job.output,
    is_kept = true,
  })
  for _, each in ipairs(whole.runs) do
    if each.output == job.run then
      local run = job.budget and given_budget.give(each, job.budget.limit, job.budget.amount) or each
      if run.config_json == job.config then return run end
      break
    end
  end
  errors.raise('recipe %s: gave another configuration when it was read again; does it depend on the time, on '
               .. 'random numbers or on the environment?', job.recipe_path)
end

local function train(job)
  core.check(core.C.icot_set_threads(job.threads))
  local shown = told_progress(job.label)
  local ok, result = xpcall(function()
    local run = find_run(job)
    if job.resume then orphan.wait_for(run.output, function(text) shown:note(text) end) end
    return require('icot.training.trainer').run(run, {
      progress = shown, overwrite = job.overwrite, resume = job.resume, allow_changes = job.allow_changes,
    })
  end, function(raised)
    if interrupt.is_interrupt(raised) then return { status = 'interrupted' } end
    return { status = 'failed', message = errors.describe(raised, job.traceback) }
  end)
  if not ok and result.message then terminal.tell(result.message) end
  return result
end

--- Does what the standard input says.
---@return integer exit_code
function study_worker.run()
  core.check(core.C.icot_interrupts_catch())
  local job = json.decode(io.stdin:read('*a'))
  if type(job) ~= 'table' or not job.run then errors.raise('study: --worker is for icot itself only; use --jobs') end
  local result = train(job)
  tell { event = 'result', result = result }
  if result.status == 'interrupted' then return interrupt.exit_code() end
  return result.status == 'failed' and 1 or 0
end

return study_worker
