--- The table of results at the end of a study: one line per run, columns aligned.
local progress = require 'icot.progress'
local terminal = require 'icot.terminal'

local result_table = {}

local function shown_or_dash(format, value)
  return value and value == value and format(value) or '-' -- neither nil nor NaN
end

local function fixed(value) return ('%.3f'):format(value) end
local function integer(value) return ('%d'):format(value) end

local function explicit_accuracy(result) return result.explicit_accuracy end
local function is_unusual(result) return result.status ~= 'finished' end

-- Name, how a result is shown in it, whether it is text (aligned left), and when the column is wanted: if a
-- result asks for it, or always.
local columns = {
  { 'arm', function(run) return run.arm end, text = true },
  { 'seed', function(run) return ('%d'):format(run.seed) end },
  { 'method', function(run) return run.config.method end, text = true },
  { 'removed', function(_, result) return shown_or_dash(integer, result.removed) end },
  { 'explicit', function(_, result) return shown_or_dash(fixed, explicit_accuracy(result)) end,
    wanted = explicit_accuracy },
  { 'accuracy', function(_, result) return shown_or_dash(fixed, result.accuracy) end },
  { 'updates', function(_, result) return shown_or_dash(integer, result.updates) end },
  { 'tokens', function(_, result) return shown_or_dash(progress.count, result.tokens) end },
  { 'time', function(_, result) return shown_or_dash(progress.duration, result.seconds) end },
  { 'status', function(_, result) return result.status end, text = true, wanted = is_unusual },
}

local function is_wanted(column, results)
  if not column.wanted then return true end
  for _, result in ipairs(results) do
    if column.wanted(result) then return true end
  end
  return false
end

-- The heading of a column and its cell for each result.
local function cells_of(column, runs, results)
  local cells = { column[1] }
  for i, result in ipairs(results) do cells[i + 1] = column[2](runs[i], result) end
  return cells
end

local function widest(cells)
  local width = 0
  for _, cell in ipairs(cells) do width = math.max(width, #cell) end
  return width
end

local function pad(text, width, left)
  local spaces = (' '):rep(width - #text)
  return left and text .. spaces or spaces .. text
end

--- Lays out the results.
---@param runs icot.Run[]
---@param results icot.Result[] one for each run that was started
---@return string[] lines the first is the heading
function result_table.lines(runs, results)
  local lines = {}
  for _, column in ipairs(columns) do
    if is_wanted(column, results) then
      local cells = cells_of(column, runs, results)
      local width = widest(cells)
      for i, cell in ipairs(cells) do
        lines[i] = (lines[i] and lines[i] .. '  ' or '') .. pad(cell, width, column.text)
      end
    end
  end
  for i, line in ipairs(lines) do lines[i] = line:gsub(' +$', '') end
  return lines
end

--- Prints the results.
---@param stream file*
---@param runs icot.Run[]
---@param results icot.Result[]
function result_table.print(stream, runs, results)
  local lines = result_table.lines(runs, results)
  lines[1] = terminal.style(lines[1], 'bold', terminal.has_color(stream))
  stream:write('\n', table.concat(lines, '\n'), '\n')
end

return result_table
