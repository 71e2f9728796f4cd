--- What the runs of an arm come to over its seeds: accuracy with its uncertainty, how many collapsed, what they cost.
local end_state = require 'icot.results.end_state'
local statistics = require 'icot.study.statistics'

local arm_summary = {}

local CONFIDENCE = 0.95
local LEAST_TO_LOSE = 0.1 -- explicit accuracy; below that, what was learned is too little to tell its loss from chance

---@class icot.ArmSummary a row of /arms
---@field arm string
---@field runs integer that were wanted
---@field finished integer that ended by themselves
---@field accuracy_mean number
---@field accuracy_low number 95 % interval of the mean
---@field accuracy_high number
---@field collapsed integer
---@field collapse_rate number
---@field updates_mean number
---@field tokens_mean number
---@field flops_mean number
---@field seconds_mean number

--- Whether a run came to its end, wherever that was, and was not broken off.
---@param result icot.Result?
---@return boolean
function arm_summary.has_ended(result)
  return result ~= nil and end_state.is_over(result.status)
end

-- Only a run that did well enough with all its CoT can lose that.
local function can_collapse(result)
  local explicit = result.explicit_accuracy or 0 -- neither holds for NaN
  return result.status == 'collapsed' or explicit >= LEAST_TO_LOSE and result.accuracy >= 0
end

--- Whether a run has lost what it had learned: it was ended for that (train.stop_on_collapse), or its accuracy at the
--- end is below `below` times the accuracy that it had with all CoT, just before the first removal, and that was at
--- least 0.1.
---@param result icot.Result
---@param below number `collapse_below` of a recipe
---@return boolean
function arm_summary.is_collapsed(result, below)
  if not arm_summary.has_ended(result) or not can_collapse(result) then return false end
  return result.status == 'collapsed' or result.accuracy < below * result.explicit_accuracy
end

-- The values of a field that are numbers.
local function values_of(results, field)
  local values = {}
  for _, result in ipairs(results) do
    local value = result[field]
    if value and value == value then values[#values + 1] = value end
  end
  return values
end

local function summary_of(arm, runs, results, below)
  local collapsed, able = 0, 0
  for _, result in ipairs(results) do
    if can_collapse(result) then able = able + 1 end
    if arm_summary.is_collapsed(result, below) then collapsed = collapsed + 1 end
  end
  local accuracies = values_of(results, 'accuracy')
  local low, high = statistics.interval(accuracies, CONFIDENCE)
  local row = {
    arm = arm, runs = runs, finished = #results, accuracy_mean = statistics.mean(accuracies),
    accuracy_low = low < 0 and 0 or low, accuracy_high = high > 1 and 1 or high, -- NaN stays
    collapsed = collapsed, collapse_rate = collapsed / able,
  }
  for _, field in ipairs { 'updates', 'tokens', 'flops', 'seconds' } do
    row[field .. '_mean'] = statistics.mean(values_of(results, field))
  end
  return row
end

--- Sums up the arms of a study. An interval is cut to what an accuracy can be, 0 to 1.
---@param runs icot.Run[]
---@param results table<integer, icot.Result> by the number of the run; of runs that were not started there is none
---@param below number `collapse_below` of the recipe
---@return icot.ArmSummary[] in the order of the runs
function arm_summary.of(runs, results, below)
  local order, count, ended, rows = {}, {}, {}, {}
  for i, run in ipairs(runs) do
    local arm = run.arm
    if not count[arm] then order[#order + 1], count[arm], ended[arm] = arm, 0, {} end
    count[arm] = count[arm] + 1
    if arm_summary.has_ended(results[i]) then table.insert(ended[arm], results[i]) end
  end
  for i, arm in ipairs(order) do rows[i] = summary_of(arm, count[arm], ended[arm], below) end
  return rows
end

return arm_summary
