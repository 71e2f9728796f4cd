--- The layers that others are made of.
local class = require 'icot.nn.class'
local random = require 'icot.engine.random'
local tensor = require 'icot.tensor'

local layers = {}

--- y = x·weightᵀ + bias; weight (out, in), bias (out).
--- options: `bias = false` leaves it out; `std` of the initial weights (1/√in by default); `generator`.
---@class icot.nn.Linear: icot.Module
---@field weight icot.Tensor (out, in)
---@field bias icot.Tensor? (out)
layers.Linear = class.new('Linear')

---@param in_features integer
---@param out_features integer
---@param options? { bias?: boolean, std?: number, generator?: icot.Generator }
function layers.Linear:init(in_features, out_features, options)
  options = options or {}
  local std = options.std or 1 / math.sqrt(in_features)
  self.weight = class.parameter({ out_features, in_features }, { std = std, generator = options.generator })
  if options.bias ~= false then self.bias = tensor.zeros({ out_features }):requires_grad_() end
end

---@param x icot.Tensor (…, in)
---@param residual? icot.Tensor (…, out) is added; only to a layer with a bias
---@return icot.Tensor (…, out)
function layers.Linear:forward(x, residual)
  return x:linear(self.weight, self.bias, residual)
end

--- Normalization over the last dimension: nn.LayerNorm(width, { eps = 1e-5 }).
---@class icot.nn.LayerNorm: icot.Module
---@field weight icot.Tensor (width)
---@field bias icot.Tensor (width)
layers.LayerNorm = class.new('LayerNorm')

---@param width integer
---@param options? { eps?: number } eps: added to the variance, 1e-5 by default
function layers.LayerNorm:init(width, options)
  self.eps = options and options.eps or 1e-5
  self.weight = tensor.ones({ width }):requires_grad_()
  self.bias = tensor.zeros({ width }):requires_grad_()
end

---@param x icot.Tensor (…, width)
---@return icot.Tensor (…, width)
function layers.LayerNorm:forward(x)
  return x:layer_norm(self.weight, self.bias, self.eps)
end

--- Rows by index: nn.Embedding(count, width, { std, generator }); ids int32 (…) -> (…, width).
---@class icot.nn.Embedding: icot.Module
---@field weight icot.Tensor (count, width)
layers.Embedding = class.new('Embedding')

---@param count integer
---@param width integer
---@param options? { std?: number, generator?: icot.Generator }
function layers.Embedding:init(count, width, options)
  self.weight = class.parameter({ count, width }, options)
end

---@param ids icot.Tensor int32 (…), from 0 to count - 1
---@return icot.Tensor (…, width)
function layers.Embedding:forward(ids)
  return self.weight:embedding(ids)
end

--- Dropout: nn.Dropout(p, stream). Active only where the context says so, with `context.dropout = { seed, step }`;
--- each layer draws from a stream of its own, so the same step gives the same mask. What is drawn for a row depends on
--- its place in the batch of the update (context.first_token, first_target), so that the parts of a batch get what the
--- whole would have got.
---@class icot.nn.Dropout: icot.Module
layers.Dropout = class.new('Dropout')

---@param p number share of elements that become zero, from 0 to below 1
---@param stream? integer of random numbers; 0 by default
function layers.Dropout:init(p, stream)
  self.p, self.stream = p, random.streams.dropout + (stream or 0)
end

--- What decides about the rows now, or nil when nothing is dropped.
---@param context? icot.Context
---@param at_targets? any true if the rows are those of the targets, not of all tokens
---@return { p: number, key: ffi.cdata*, first: integer }? first: number of the first row
function layers.Dropout:draw(context, at_targets)
  if self.p == 0 or not (context and context.dropout) then return nil end
  local first = at_targets and context.first_target or context.first_token
  return { p = self.p, key = random.key(context.dropout.seed, self.stream, context.dropout.step), first = first or 0 }
end

--- Drops elements of x and adds the result to `residual`, if there is one.
---@param x icot.Tensor (R, C)
---@param context? icot.Context
---@param at_targets? any as in `draw`
---@param residual? icot.Tensor (R, C)
---@return icot.Tensor (R, C)
function layers.Dropout:forward(x, context, at_targets, residual)
  local drawn = self:draw(context, at_targets)
  if drawn then return x:dropout(drawn.p, drawn.key, drawn.first * x:size(-1), residual) end
  return residual and residual + x or x
end

return layers
