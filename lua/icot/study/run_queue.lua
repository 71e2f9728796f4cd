--- The runs of a study in the order in which they can start: as the recipe has them, but none before those that it
--- waits for.
local arm_summary = require 'icot.study.arm_summary'
local matching = require 'icot.study.matching'

local run_queue = {}

---@class icot.RunQueue
---@field runs icot.Run[]
---@field results table<integer, icot.Result> of the runs that are over, by their number
---@field private taken table<integer, boolean>
local Queue = {}
Queue.__index = Queue

--- A queue of runs, none of which has started.
---@param runs icot.Run[] each with what it waits for, by its number in this list
---@return icot.RunQueue
function run_queue.new(runs)
  return setmetatable({ runs = runs, results = {}, taken = {} }, Queue)
end

local function can_start(self, run)
  for _, wait in ipairs(run.waits_for or {}) do
    if not self.results[wait.number] then return false end
  end
  return true
end

--- The number of a run that can start now.
---@return integer? number nil: none can, now or ever
function Queue:next()
  for i, run in ipairs(self.runs) do
    if not self.taken[i] and can_start(self, run) then return i end
  end
end

local because = {
  model = function() return 'it needs the model of' end,
  match = function(run) return ('it was to match the %s of'):format(run.match.what) end,
}

-- What becomes of a run if something that it has waited for did not come to its end; nil if all did.
local function result_without(self, run)
  for _, wait in ipairs(run.waits_for or {}) do
    local other, result = self.runs[wait.number], self.results[wait.number]
    if not arm_summary.has_ended(result) then
      local has_failed = result.status == 'failed'
      return { status = result.status, message = ('not started: %s %s seed %d, which %s'):format(
        because[wait.why](run), other.arm, other.seed, has_failed and 'failed' or 'was interrupted') }
    end
  end
end

--- Takes a run out of the queue, to start it.
---@param number integer
---@return icot.Run run one that has waited for its budget has it here
---@return icot.Result? result of a run that cannot start; interrupted, if what it has waited for was
function Queue:take(number)
  local run = self.runs[number]
  self.taken[number] = true
  local result = result_without(self, run)
  if result or not run.match then return run, result end
  local given, problem = matching.give(run, self.results)
  if not given then return run, { status = 'failed', message = problem } end
  return given
end

--- Takes in that a run is over.
---@param number integer
---@param result icot.Result
function Queue:finish(number, result)
  self.results[number] = result
end

return run_queue
