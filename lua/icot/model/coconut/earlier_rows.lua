--- Queries, keys and values of rows that were computed in earlier passes, while gradients flow to them: what a KV cache
--- is in decoding.
---
--- A pass gathers those of its sequences, so what is kept for backward grows with the square of the number of passes;
--- and the operator has queries of earlier rows attend once more, to nobody's use. With a few thoughts that is little
--- beside projections and MLP, which are computed once for each row.
local rows = require 'icot.tensor.rows'
local tensor = require 'icot.tensor'

---@class icot.EarlierRows
---@field computed table<integer, icot.Tensor> by layer: of all rows so far, (T, 3·width)
---@field attended icot.Tensor int32: see icot.coconut.Pass
---@field own icot.Tensor int32
---@field first integer number, for dropout, of the first row that is attended to
local EarlierRows = {}
EarlierRows.__index = EarlierRows

--- None so far.
---@return icot.EarlierRows
function EarlierRows.new()
  return setmetatable({ computed = {} }, EarlierRows)
end

--- Says which rows come next.
---@param pass icot.coconut.Pass
function EarlierRows:begin(pass)
  self.attended, self.own, self.first = rows.ints(pass.attended), rows.ints(pass.own), pass.before.attended
end

-- Takes in those of a pass; gives those of all so far.
local function add(self, layer, qkv)
  local before = self.computed[layer]
  self.computed[layer] = before and tensor.concat({ before, qkv }, 0) or qkv
  if before then
    before:release()
    qkv:release()
  end
  return self.computed[layer]
end

--- Attention of the rows of a pass to themselves and to those before them.
---@param attention icot.nn.Attention
---@param qkv icot.Tensor (rows of the pass, 3·width)
---@param context icot.Context
---@return icot.Tensor (rows of the pass, width)
function EarlierRows:attend(attention, qkv, context)
  local gathered = add(self, attention.layer, qkv):embedding(self.attended)
  local drawn = attention.attn_dropout:draw(context)
  if drawn then drawn.first = self.first end
  local mixed = gathered:attention(context.cu_seqlens, attention.heads, drawn)
  local own = mixed:embedding(self.own)
  gathered:release()
  mixed:release()
  return own
end

return EarlierRows
