--- Gives a run that is to train for as long as another one (icot.recipe.equal_compute) what that one has used.
local given_budget = require 'icot.recipe.given_budget'

local matching = {}

local function sum_of(numbers, results, field)
  local sum = 0
  for _, number in ipairs(numbers or {}) do sum = sum + results[number][field] end
  return sum
end

--- A run with what the one that it has to match has used, less what its own steps have used already.
---@param run icot.Run with `match`
---@param results table<integer, icot.Result> of all of these, which have ended
---@return icot.Run? given nil: there is nothing to give
---@return string? problem why
function matching.give(run, results)
  local match = run.match
  local wanted, used = sum_of(match.of, results, match.what), sum_of(match.less, results, match.what)
  if used >= wanted then
    return nil, ('not started: it has to match %.4g %s, but the steps before it used %.4g'):format(
      wanted, match.what, used)
  end
  return given_budget.give(run, given_budget.LIMITS[match.what], wanted - used)
end

return matching
