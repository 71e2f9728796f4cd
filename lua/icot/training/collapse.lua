--- Notices that a training has lost what it had learned, by its validation accuracies.
local collapse = {}

---@class icot.CollapseWatch what has been seen so far; a plain table, kept in checkpoints
---@field was_above boolean the accuracy has been at `below` or more once
---@field count integer evaluations in a row that were below since then, or since all CoT is gone

---@class icot.CollapseOptions `train.stop_on_collapse` of a recipe
---@field below number
---@field evaluations integer

--- A watch that has seen nothing.
---@return icot.CollapseWatch
function collapse.new()
  return { was_above = false, count = 0 }
end

--- Takes in a validation accuracy. As long as it never was above and there is CoT left, the model is still learning to
--- write it, and nothing can have collapsed.
---@param self icot.CollapseWatch
---@param accuracy number NaN says nothing
---@param all_removed boolean no CoT is left of what once was there
---@param options icot.CollapseOptions|false
function collapse.note(self, accuracy, all_removed, options)
  if not options or accuracy ~= accuracy then return end
  if accuracy >= options.below then
    self.was_above, self.count = true, 0
  elseif self.was_above or all_removed then
    self.count = self.count + 1
  end
end

--- Takes in that what was lost is there again.
---@param self icot.CollapseWatch
function collapse.start_over(self)
  self.count = 0
end

--- Whether it stayed below for as long as the recipe says.
---@param self icot.CollapseWatch
---@param options icot.CollapseOptions|false
---@return boolean
function collapse.has_happened(self, options)
  return options ~= false and self.count >= options.evaluations
end

return collapse
