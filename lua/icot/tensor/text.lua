--- How a tensor is shown, and its elements as nested tables.
local core = require 'icot.engine.core'

local tensor_text = {}

--- A shape as messages of the core write it: "(2,3,4)".
---@param shape integer[]
---@return string
function tensor_text.shape(shape)
  if #shape > core.C.ICOT_MAX_DIMS then return ('of %d dimensions'):format(#shape) end
  local sizes = {}
  for d, size in ipairs(shape) do sizes[d] = ('%.0f'):format(size) end
  return '(' .. table.concat(sizes, ',') .. ')'
end

--- Elements as nested tables.
---@param shape integer[]
---@param values ffi.cdata* row-major
---@return table|number
function tensor_text.nest(shape, values)
  local at = 0
  local function level(d)
    if d > #shape then
      at = at + 1
      return tonumber(values[at - 1])
    end
    local rows = {}
    for i = 1, shape[d] do rows[i] = level(d + 1) end
    return rows
  end
  return level(1)
end

local EDGE = 3 -- entries shown at each end of a long dimension
local LONG = 2 * EDGE + 2

local function show_rows(rows, depth, number)
  if type(rows) ~= 'table' then return number:format(rows) end
  local shown = {}
  for i, row in ipairs(rows) do
    if #rows <= LONG or i <= EDGE or i > #rows - EDGE then
      shown[#shown + 1] = show_rows(row, depth + 1, number)
    elseif i == EDGE + 1 then
      shown[#shown + 1] = '…'
    end
  end
  local nested = type(rows[1]) == 'table'
  local separator = nested and (',\n' .. (' '):rep(depth + 1)) or ', '
  return '[' .. table.concat(shown, separator) .. ']'
end

--- A tensor as text: shape, dtype and values; the middle of long dimensions is left out.
---@param shape integer[]
---@param dtype string
---@param values ffi.cdata*
---@return string
function tensor_text.format(shape, dtype, values)
  local number = dtype == 'int32' and '%d' or '%.4g'
  local body = show_rows(tensor_text.nest(shape, values), 0, number)
  return ('tensor (%s) %s\n%s'):format(table.concat(shape, ', '), dtype, body)
end

return tensor_text
