--- The tables at the end of a study: one line per run, then one per arm; columns aligned.
local progress = require 'icot.training.progress'
local text_table = require 'icot.base.text_table'

local result_table = {}

local function shown_or_dash(format, value)
  return value and value == value and format(value) or '-' -- neither nil nor NaN
end

local function fixed(value) return ('%.3f'):format(value) end
local function integer(value) return ('%d'):format(value) end

-- A column that shows a field of its row.
local function column(name, field, format)
  return { name, function(row) return shown_or_dash(format, row[field]) end }
end

-- Name, how a row is shown in it, whether it is text (aligned left), and when the column is wanted: if a row asks
-- for it, or always. A row here is { run = …, result = … }.
local run_columns = {
  { 'arm', function(row) return row.run.arm end, text = true },
  { 'seed', function(row) return ('%d'):format(row.run.seed) end },
  { 'method', function(row) return row.run.config.method end, text = true },
  { 'removed', function(row) return shown_or_dash(integer, row.result.removed) end },
  { 'explicit', function(row) return shown_or_dash(fixed, row.result.explicit_accuracy) end,
    wanted = function(row) return row.result.explicit_accuracy end },
  { 'accuracy', function(row) return shown_or_dash(fixed, row.result.accuracy) end },
  { 'updates', function(row) return shown_or_dash(integer, row.result.updates) end },
  { 'tokens', function(row) return shown_or_dash(progress.count, row.result.tokens) end },
  { 'time', function(row) return shown_or_dash(progress.duration, row.result.seconds) end },
  { 'status', function(row) return row.result.status end, text = true,
    wanted = function(row) return row.result.status ~= 'finished' end },
}

local function interval_of(arm)
  return shown_or_dash(fixed, arm.accuracy_low) .. ' to ' .. shown_or_dash(fixed, arm.accuracy_high)
end

-- A row here is an icot.ArmSummary.
local arm_columns = {
  { 'arm', function(arm) return arm.arm end, text = true },
  { 'runs', function(arm) return ('%d'):format(arm.finished) end },
  column('accuracy', 'accuracy_mean', fixed),
  { '95 % interval', function(arm) return arm.accuracy_low == arm.accuracy_low and interval_of(arm) or '-' end },
  { 'collapsed', function(arm)
    return arm.collapse_rate == arm.collapse_rate and ('%.0f %%'):format(100 * arm.collapse_rate) or '-'
  end },
  column('updates', 'updates_mean', progress.count),
  column('tokens', 'tokens_mean', progress.count),
  column('flops', 'flops_mean', progress.count),
  column('time', 'seconds_mean', progress.duration),
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
