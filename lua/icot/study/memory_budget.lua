--- Says whether the memory lasts for one more of several processes that are much alike.
---
--- How much one needs is not known before. So the first starts alone; once it has worked for a while, its peak is what
--- the others are expected to need, and wherever one needs more, that. Another one starts as long as the memory that
--- is available, less what those under way may still take up to their expected peak, is enough for it.
local memory_budget = {}

--- What `--memory` counts in, in bytes.
memory_budget.GIB = 2 ^ 30

---@class icot.MemoryBudget
---@field limit number? bytes that all together may take
---@field available fun(): number bytes that are free
---@field expected number? bytes that one process is expected to need
local Budget = {}
Budget.__index = Budget

--- A budget in which nothing is known yet of what a process needs.
---@param limit? number bytes; nil: whatever is available
---@param available fun(): number bytes that are free now
---@return icot.MemoryBudget
function memory_budget.new(limit, available)
  return setmetatable({ limit = limit, available = available }, Budget)
end

--- Takes in what a process has needed.
---@param peak number bytes
function Budget:note_peak(peak)
  self.expected = math.max(self.expected or 0, peak)
end

--- Whether one more may start.
---@param running number[] bytes that those under way take now
---@return boolean
function Budget:allows_another(running)
  if #running == 0 then return true end -- whatever it needs, waiting does not help
  if not self.expected then return false end
  local still_to_come, in_all = 0, 0
  for _, now in ipairs(running) do
    still_to_come = still_to_come + math.max(0, self.expected - now)
    in_all = in_all + math.max(self.expected, now)
  end
  if self.limit and in_all + self.expected > self.limit then return false end
  return self.available() - still_to_come >= self.expected
end

return memory_budget
