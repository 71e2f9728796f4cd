--- Single rows of a packed matrix: lists of them as tensors, and how some are replaced.
local ffi = require 'ffi'
local tensor = require 'icot.tensor'

local rows = {}

--- A list of integers as a tensor of the open scope.
---@param list integer[]
---@return icot.Tensor int32 (#list)
function rows.ints(list)
  return tensor.from_ints(ffi.new('int32_t[?]', math.max(#list, 1), list), #list)
end

--- A function that replaces rows of a matrix.
---@param n_rows integer T, of the matrix
---@param replaced integer[] B rows of it, from 0
---@return fun(x: icot.Tensor, replacement: icot.Tensor): icot.Tensor of x (T, C) and replacement (B, C); gradients flow
---   to both, but not to the rows of x that are gone
function rows.replacer(n_rows, replaced)
  local places = {}
  for row = 0, n_rows - 1 do places[row + 1] = row end
  for b, row in ipairs(replaced) do places[row + 1] = n_rows + b - 1 end
  local taken_from = rows.ints(places)
  return function(x, replacement) return tensor.concat({ x, replacement }, 0):embedding(taken_from) end
end

--- The `enter` (icot.Context) that replaces rows of what would enter the first block.
---@param n_rows integer T, of the pass
---@param replaced integer[] B rows of it, from 0
---@param replacement icot.Tensor (B, width)
---@return fun(layer: integer, x: icot.Tensor): icot.Tensor
function rows.entering(n_rows, replaced, replacement)
  local replace = rows.replacer(n_rows, replaced)
  return function(layer, x) return layer == 1 and replace(x, replacement) or x end
end

return rows
