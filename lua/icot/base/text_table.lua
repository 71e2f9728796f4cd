--- Tables of text, as the command line prints them: columns aligned, the heading bold.
local terminal = require 'icot.base.terminal'

local text_table = {}

local function is_wanted(each, rows)
  if not each.wanted then return true end
  for _, row in ipairs(rows) do
    if each.wanted(row) then return true end
  end
  return false
end

-- The heading of a column and its cell for each row.
local function cells_of(each, rows)
  local cells = { each[1] }
  for i, row in ipairs(rows) do cells[i + 1] = each[2](row) end
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

--- What a cell shows of a value.
---@param value any
---@param format string|fun(value: any): string of string.format, or a function
---@return string text `-` if the value is nil or NaN
function text_table.cell(value, format)
  if value == nil or value ~= value then return '-' end
  return type(format) == 'string' and format:format(value) or format(value)
end

--- A column that shows a field of its rows.
---@param name string its heading
---@param field string
---@param format string|fun(value: any): string as in `cell`
---@return table column for `lay_out`; `text` and `wanted` can be set
function text_table.column(name, field, format)
  return { name, function(row) return text_table.cell(row[field], format) end }
end

--- Lays out a table.
---@param columns { [1]: string, [2]: fun(row: any): string, text?: boolean, wanted?: fun(row: any): any }[] name; the
---   cell of a row; whether it is text, aligned left; whether a row wants the column at all (default: always)
---@param rows any[]
---@return string[] lines the first is the heading
function text_table.lay_out(columns, rows)
  local lines = {}
  for _, each in ipairs(columns) do
    if is_wanted(each, rows) then
      local cells = cells_of(each, rows)
      local width = widest(cells)
      for i, cell in ipairs(cells) do
        lines[i] = (lines[i] and lines[i] .. '  ' or '') .. pad(cell, width, each.text)
      end
    end
  end
  for i, line in ipairs(lines) do lines[i] = line:gsub(' +$', '') end
  return lines
end

--- Prints a table that was laid out, its heading bold, below an empty line.
---@param stream file*
---@param lines string[]
function text_table.print(stream, lines)
  local heading = terminal.bold(lines[1], terminal.has_color(stream))
  stream:write('\n', heading, '\n', table.concat(lines, '\n', 2), #lines > 1 and '\n' or '')
end

return text_table
