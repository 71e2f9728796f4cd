--- Tensors: arrays of float32 or int32 that live in the core, with gradients.
---
--- Names, broadcasting and the numbering of dimensions are PyTorch's: dimensions count from 0, and -1 is the last.
--- A tensor belongs to the scope that is open when it is made (icot.engine.scope) and is gone when that closes; outside
--- of any scope it lives until `:free()`. Using one that is gone is an error, never a stale read.
---
--- This file gives every operator of the core a readable form; icot.tensor.class has the rest.
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local tensor = require 'icot.tensor.class'

local Tensor, apply = tensor.Tensor, tensor.apply

for _, name in ipairs { 'neg', 'exp', 'log', 'sqrt', 'tanh', 'sigmoid', 'relu', 'gelu', 'contiguous', 'softmax',
                        'log_softmax' } do
  Tensor[name] = function(self) return apply(name, { self }) end
end

--- A binary operator whose second operand may be a number: scale·x + shift then.
local function binary(name, with_number)
  return function(a, b)
    if type(b) == 'number' then return with_number(a, b) end
    if type(a) == 'number' then return apply(name, { tensor.full({}, a), b }) end
    return apply(name, { a, b })
  end
end

local function affine(x, scale, shift) return apply('affine', { x }, nil, { scale, shift }) end

Tensor.add = binary('add', function(x, b) return affine(x, 1, b) end)
Tensor.sub = binary('sub', function(x, b) return affine(x, 1, -b) end)
Tensor.mul = binary('mul', function(x, b) return affine(x, b, 0) end)
Tensor.div = binary('div', function(x, b) return affine(x, 1 / b, 0) end)
Tensor.__add, Tensor.__sub, Tensor.__mul, Tensor.__div = Tensor.add, Tensor.sub, Tensor.mul, Tensor.div
Tensor.__unm = Tensor.neg

--- x to a constant power, element by element.
---@param exponent number
---@return icot.Tensor
function Tensor:pow(exponent)
  return apply('pow', { self }, nil, { exponent })
end
Tensor.__pow = Tensor.pow

--- Matrix product (…, m, k) x (…, k, n); the second may be a plain (k, n).
---@param other icot.Tensor
---@return icot.Tensor
function Tensor:matmul(other)
  return apply('matmul', { self, other })
end

--- x (…, in) · weightᵀ + bias + residual.
---@param weight icot.Tensor (out, in)
---@param bias? icot.Tensor (out)
---@param residual? icot.Tensor (…, out); only with a bias
---@return icot.Tensor (…, out)
function Tensor:linear(weight, bias, residual)
  if residual and not bias then errors.raise('linear: a residual is only added together with a bias') end
  return apply('linear', { self, weight, bias, residual })
end

--- gelu(x · fc_weightᵀ + fc_bias) · proj_weightᵀ + proj_bias + residual, as one operator that keeps little of what lies
--- between: the MLP of a transformer block, x (…, C).
---@param fc_weight icot.Tensor (F, C)
---@param fc_bias icot.Tensor (F)
---@param proj_weight icot.Tensor (C, F)
---@param proj_bias icot.Tensor (C)
---@param residual? icot.Tensor (…, C)
---@return icot.Tensor (…, C)
function Tensor:mlp(fc_weight, fc_bias, proj_weight, proj_bias, residual)
  return apply('mlp', { self, fc_weight, fc_bias, proj_weight, proj_bias, residual })
end

local function reduce(name)
  return function(self, dim, keepdim)
    return apply(name, { self }, dim and { dim, keepdim and 1 or 0 } or nil)
  end
end

--- Sum and mean over one dimension, or over everything: x:sum(), x:sum(dim, keepdim).
Tensor.sum, Tensor.mean = reduce('sum'), reduce('mean')

--- The same elements in another shape; one size may be -1.
---@param ... integer
---@return icot.Tensor
function Tensor:reshape(...)
  return apply('reshape', { self }, { ... })
end

--- Dimensions in another order; a view.
---@param ... integer the input's dimension for each of the output's
---@return icot.Tensor
function Tensor:permute(...)
  return apply('permute', { self }, { ... })
end

--- Two dimensions exchanged; a view.
---@param a integer
---@param b integer
---@return icot.Tensor
function Tensor:transpose(a, b)
  local order, ndim = {}, self:describe().ndim
  for d = 1, ndim do order[d] = d - 1 end
  a, b = a < 0 and a + ndim or a, b < 0 and b + ndim or b
  if not (order[a + 1] and order[b + 1]) then
    errors.raise('transpose: got dimensions %d and %d of a tensor with %d', a, b, ndim)
  end
  order[a + 1], order[b + 1] = b, a
  return apply('permute', { self }, order)
end

--- `length` entries of a dimension from `start` (0 is the first); a view.
---@param dim integer
---@param start integer
---@param length integer
---@return icot.Tensor
function Tensor:narrow(dim, start, length)
  return apply('slice', { self }, { dim, start, length })
end

--- Repeats dimensions of size 1; a view.
---@param ... integer
---@return icot.Tensor
function Tensor:expand(...)
  return apply('expand', { self }, { ... })
end

--- Tensors one after the other along a dimension.
---@param tensors icot.Tensor[] at most 15
---@param dim integer
---@return icot.Tensor
function tensor.concat(tensors, dim)
  return apply('concat', tensors, { dim })
end

--- Rows of this (V, C) matrix by index.
---@param ids icot.Tensor int32 (…)
---@return icot.Tensor (…, C)
function Tensor:embedding(ids)
  return apply('embedding', { self, ids })
end

--- Sets a share p of the elements to 0 and scales the others by 1/(1-p).
---@param p number 0 <= p < 1
---@param key ffi.cdata* decides which
---@param first? integer number, 0 by default, of the first element in a larger whole that the key decides about
---@param residual? icot.Tensor of the same shape: is added
---@return icot.Tensor
function Tensor:dropout(p, key, first, residual)
  return apply('dropout', { self, residual }, { first or 0 }, { p }, key)
end

--- Normalizes over the last dimension.
---@param weight icot.Tensor (C)
---@param bias icot.Tensor (C)
---@param eps number
---@return icot.Tensor
function Tensor:layer_norm(weight, bias, eps)
  return apply('layer_norm', { self, weight, bias }, nil, { eps })
end

--- Causal self-attention over packed sequences; self is qkv (T, 3C).
---@param cu_seqlens icot.Tensor int32 (B+1), where each sequence begins
---@param heads integer
---@param dropout? { p: number, key: ffi.cdata*, first?: integer } of the attention weights; first: number, 0 by
---   default, of the first row in a larger batch that the key decides about
---@return icot.Tensor (T, C)
function Tensor:attention(cu_seqlens, heads, dropout)
  if not dropout then return apply('attention', { self, cu_seqlens }, { heads }) end
  return apply('attention', { self, cu_seqlens }, { heads, dropout.first or 0 }, { dropout.p }, dropout.key)
end

--- The same of sequences that are computed bit by bit: self, (T, 3C), are their next rows.
---@param past icot.Tensor (P, 3C) with a place for each row of each sequence, where self is written; no call may write
---   to a row that one before, whose backward is to come, has written or read. A leaf that requires a gradient if self
---   does: what it has got for rows of self moves on to self in backward
---@param cu_seqlens icot.Tensor int32 (B+1), where each sequence begins in self
---@param behind { starts: icot.Tensor, lengths: icot.Tensor } int32 (B): where each begins in `past`, and how many of
---   its rows are there already
---@param heads integer
---@param dropout? table as in `attention`; rows are numbered as they lie in `past`
---@return icot.Tensor (T, C)
function Tensor:attention_past(past, cu_seqlens, behind, heads, dropout)
  local inputs = { self, past, cu_seqlens, behind.starts, behind.lengths }
  if not dropout then return apply('attention_past', inputs, { heads }) end
  return apply('attention_past', inputs, { heads, dropout.first or 0 }, { dropout.p }, dropout.key)
end

--- The self-attention of a transformer block, with the linear layers around it, as one operator that keeps little of
--- what lies between: c_proj(attention(c_attn(x))) + residual for x (T, C).
---@param c_attn icot.nn.Linear (C) -> (3C)
---@param c_proj icot.nn.Linear (C) -> (C)
---@param cu_seqlens icot.Tensor int32 (B+1), where each sequence begins
---@param heads integer
---@param dropout? { p: number, key: ffi.cdata*, first?: integer } of the attention weights, as in `attention`
---@param residual? icot.Tensor (T, C)
---@param rows? icot.Tensor int32 (R), ascending: only these rows of the result; the residual is (R, C) then
---@return icot.Tensor (T, C)
function Tensor:self_attention(c_attn, c_proj, cu_seqlens, heads, dropout, residual, rows)
  if rows and not residual then errors.raise('self_attention: rows are only picked where a residual is added') end
  local inputs = { self, c_attn.weight, c_attn.bias, c_proj.weight, c_proj.bias, cu_seqlens, residual, rows }
  if not dropout then return apply('self_attention', inputs, { heads }) end
  return apply('self_attention', inputs, { heads, dropout.first or 0 }, { dropout.p }, dropout.key)
end

--- Whether the operators of whole layers are quicker than those that layers consist of: on a GPU they are.
---@return boolean
function tensor.fuses_layers()
  return core.C.icot_fuses_layers(core.engine()) ~= 0
end

-- Shares and streams of what dropout draws; a stream of 0 where it draws nothing.
local function share(drawn) return drawn and drawn.p or 0 end
local function stream(drawn) return drawn and drawn.key.stream or 0 end

--- A transformer block in one operator; self is the residual stream x (T, C):
---     mid = x + dropout(attn.c_proj(attention(attn.c_attn(ln_1(x)))))
---     mid + dropout(mlp.c_proj(gelu(mlp.c_fc(ln_2(mid)))))
---@param block icot.nn.Block
---@param cu_seqlens icot.Tensor int32 (B+1), where each sequence begins
---@param drawn { weights?: table, attn?: table, mlp?: table } what nn.Dropout draws, all of one seed and step: for the
---   attention weights by token, for what attention and MLP add by row of the result
---@param rows? icot.Tensor int32 (R), ascending: only these rows of the result
---@return icot.Tensor (T, C), or (R, C)
function Tensor:block(block, cu_seqlens, drawn, rows)
  local inputs = { self }
  for _, layer in ipairs { block.ln_1, block.attn.c_attn, block.attn.c_proj, block.ln_2, block.mlp.c_fc,
                           block.mlp.c_proj } do
    inputs[#inputs + 1], inputs[#inputs + 2] = layer.weight, layer.bias
  end
  inputs[#inputs + 1], inputs[#inputs + 2] = cu_seqlens, rows
  local weights, attn, mlp = drawn.weights, drawn.attn, drawn.mlp
  local by_row, any = attn or mlp, weights or attn or mlp
  return apply('block', inputs,
               { block.attn.heads, by_row and by_row.first or 0, weights and weights.first or 0, stream(weights),
                 stream(attn), stream(mlp) },
               { block.ln_1.eps, block.ln_2.eps, share(weights), share(attn), share(mlp) }, any and any.key)
end

--- Mean cross-entropy; self is logits (R, V).
---@param targets icot.Tensor int32 (R)
---@return icot.Tensor scalar
function Tensor:cross_entropy(targets)
  return apply('cross_entropy', { self, targets })
end

return tensor
