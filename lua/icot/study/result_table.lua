--- The tables at the end of a study: one line per run, then one per arm; columns aligned.
local amounts = require 'icot.base.amounts'
local text_table = require 'icot.base.text_table'

local result_table = {}

local cell, column = text_table.cell, text_table.column
local FIXED, INTEGER = '%.3f', '%d'

local function percent(rate) return ('%.0f %%'):format(100 * rate) end

-- Name, how a row is shown in it, whether it is text (aligned left), and when the column is wanted: if a row asks
-- for it, or always. A row here is { run = …, result = … }.
local run_columns = {
  { 'arm', function(row) return row.run.arm end, text = true },
  { 'seed', function(row) return ('%d'):format(row.run.seed) end },
  { 'method', function(row) return row.run.config.method end, text = true },
  { 'removed', function(row) return cell(row.result.removed, INTEGER) end },
  { 'explicit', function(row) return cell(row.result.explicit_accuracy, FIXED) end,
    wanted = function(row) return row.result.explicit_accuracy end },
  { 'accuracy', function(row) return cell(row.result.accuracy, FIXED) end },
  { 'updates', function(row) return cell(row.result.updates, INTEGER) end },
  { 'tokens', function(row) return cell(row.result.tokens, amounts.count) end },
  { 'time', function(row) return cell(row.result.seconds, amounts.duration) end },
  { 'status', function(row) return row.result.status end, text = true,
    wanted = function(row) return row.result.status ~= 'finished' end },
}

local function interval_of(arm)
  return cell(arm.accuracy_low, FIXED) .. ' to ' .. cell(arm.accuracy_high, FIXED)
end

-- A row here is an icot.ArmSummary.
local arm_columns = {
  { 'arm', function(arm) return arm.arm end, text = true },
  { 'runs', function(arm) return ('%d'):format(arm.finished) end },
  column('accuracy', 'accuracy_mean', FIXED),
  { '95 % interval', function(arm) return arm.accuracy_low == arm.accuracy_low and interval_of(arm) or '-' end },
  column('collapsed', 'collapse_rate', percent),
  column('updates', 'updates_mean', amounts.count),
  column('tokens', 'tokens_mean', amounts.count),
  column('flops', 'flops_mean', amounts.count),
  column('time', 'seconds_mean', amounts.duration),
}

--- Lays out the results.
---@param runs icot.Run[]
---@param results table<integer, icot.Result> by the number of the run; of those that were not started there is none
---@return string[] lines the first is the heading
function result_table.lines(runs, results)
  local rows = {}
  for i, run in ipairs(runs) do
    if results[i] then rows[#rows + 1] = { run = run, result = results[i] } end
  end
  return text_table.lay_out(run_columns, rows)
end

--- Lays out what the arms come to.
---@param arms icot.ArmSummary[]
---@return string[] lines the first is the heading
function result_table.arm_lines(arms)
  return text_table.lay_out(arm_columns, arms)
end

return result_table
