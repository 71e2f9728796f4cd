--- Queries, keys and values of the rows of a batch, pass by pass: what a KV cache is in decoding, while gradients flow.
local rows = require 'icot.tensor.rows'
local tensor = require 'icot.tensor'

---@class icot.EarlierRows
---@field packed icot.Batch|icot.BatchPart
---@field of_layer table<integer, icot.Tensor> by layer: (T, 3·width) for all rows of the batch, those so far filled in
---@field behind { starts: icot.Tensor, lengths: icot.Tensor } of the pass: see Tensor:attention_past
local EarlierRows = {}
EarlierRows.__index = EarlierRows

--- None so far.
---@param packed icot.Batch|icot.BatchPart
---@return icot.EarlierRows
function EarlierRows.new(packed)
  return setmetatable({ packed = packed, of_layer = {} }, EarlierRows)
end

--- Says which rows come next.
---@param pass icot.coconut.Pass
function EarlierRows:begin(pass)
  self.behind = { starts = rows.ints(pass.starts), lengths = rows.ints(pass.lengths) }
end

--- Attention of the rows of a pass to themselves and to those before them.
---@param attention icot.nn.Attention
---@param qkv icot.Tensor (rows of the pass, 3·width)
---@param context icot.Context
---@return icot.Tensor (rows of the pass, width)
function EarlierRows:attend(attention, qkv, context)
  local layer, drawn = attention.layer, attention.attn_dropout:draw(context)
  local all = self.of_layer[layer] or tensor.zeros({ self.packed:tokens(), qkv:size(1) }):requires_grad_()
  self.of_layer[layer] = all
  if drawn then drawn.first = self.packed.first_token end -- rows are numbered as they lie in the batch
  local mixed = qkv:attention_past(all, context.cu_seqlens, self.behind, attention.heads, drawn)
  qkv:release()
  return mixed
end

return EarlierRows
