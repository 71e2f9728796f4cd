--- The runs of a study in the order in which they can start: as the recipe has them, but none before the one that it
--- waits for.
local equal_compute = require 'icot.study.equal_compute'

local run_queue = {}

---@class icot.RunQueue
---@field runs icot.Run[]
---@field results table<integer, icot.Result> of the runs that are over, by their number
---@field private taken table<integer, boolean>
local Queue = {}
Queue.__index = Queue

---@param runs icot.Run[] a run's `waits_for` is the number of another one
---@return icot.RunQueue
function run_queue.new(runs)
  return setmetatable({ runs = runs, results = {}, taken = {} }, Queue)
end

--- The number of a run that can start now.
---@return integer? number nil: none can, now or ever
function Queue:next()
  for i, run in ipairs(self.runs) do
    if not self.taken[i] and (not run.waits_for or self.results[run.waits_for]) then return i end
  end
end

--- Takes a run out of the queue, to start it. One that has waited gets the budget that it has waited for.
---@param number integer
---@return icot.Run
---@return string? problem why it cannot start
function Queue:take(number)
  local run = self.runs[number]
  local other = run.waits_for
  self.taken[number] = true
  return run, other and equal_compute.give(run, self.runs[other], self.results[other])
end

--- Takes in that a run is over.
---@param number integer
---@param result icot.Result
function Queue:finish(number, result)
  self.results[number] = result
end

return run_queue
