--- Keys and values of rows that were computed in earlier passes, while gradients flow to them: what a KV cache is in
--- decoding.
local rows = require 'icot.rows'
local tensor = require 'icot.tensor'

---@class icot.EarlierRows
---@field computed table<integer, icot.Tensor> by layer: queries, keys and values of all rows so far, (T, 3·width)
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
  self.attended, self.own, self.first = rows.ints(pass.attended), rows.ints(pass.own), pass.attended_before
end

--- Attention of the rows of a pass to themselves and to those before them.
---@param attention icot.nn.Attention
---@param qkv icot.Tensor (rows of the pass, 3·width)
---@param context icot.Context
---@return icot.Tensor (rows of the pass, width)
function EarlierRows:attend(attention, qkv, context)
  local layer = attention.layer
  local before = self.computed[layer]
  self.computed[layer] = before and tensor.concat({ before, qkv }, 0) or qkv
  local drawn = attention.attn_dropout:draw(context)
  if drawn then drawn.first = self.first end
  -- (Earlier rows ask again; nobody reads what they are told.)
  local mixed = self.computed[layer]:embedding(self.attended):attention(context.cu_seqlens, attention.heads, drawn)
  return mixed:embedding(self.own)
end

return EarlierRows
