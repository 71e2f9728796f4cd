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

---@class icot.Wait
---@field number integer of the run that has to be over
---@field reason string why: 'it needs the model of', 'it was to match the tokens of'

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

-- What keeps a run from starting, although all that it has waited for is over.
local function problem_of(self, run)
  for _, wait in ipairs(run.waits_for or {}) do
    local other, result = self.runs[wait.number], self.results[wait.number]
    if not arm_summary.has_ended(result) then
      return ('not started: %s %s seed %d, which %s'):format(
        wait.reason, other.arm, other.seed, result.status == 'failed' and 'failed' or 'was interrupted')
    end
  end
end

--- Takes a run out of the queue, to start it. One that has waited for its budget gets it.
---@param number integer
---@return icot.Run
---@return string? problem why it cannot start
function Queue:take(number)
  local run = self.runs[number]
  self.taken[number] = true
  return run, problem_of(self, run) or run.match and matching.give(run, self.results) or nil
end

--- Takes in that a run is over.
---@param number integer
---@param result icot.Result
function Queue:finish(number, result)
  self.results[number] = result
end

return run_queue
