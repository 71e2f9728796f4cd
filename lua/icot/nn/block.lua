--- The transformer block of GPT-2.
local class = require 'icot.nn.class'
local errors = require 'icot.base.errors'
local layers = require 'icot.nn.layers'
local tensor = require 'icot.tensor'

local block = {}

---@class icot.Context what a forward pass needs beside the tokens
---@field cu_seqlens icot.Tensor int32 (B+1): where each of the packed sequences begins
---@field dropout? { seed: integer, step: integer } present while training
---@field first_token? integer rows of the whole batch before these, if they are a part of one; 0 by default
---@field first_target? integer the same, of rows with a target
---@field cache? icot.KVCache|icot.EarlierRows keys and values of earlier tokens of the same sequences: in decoding, or
---   where a training computes a sequence bit by bit
---@field watch? fun(name: string, output: icot.Tensor, layer?: integer) is shown what each part of a model gives; a
---   state of the residual stream with its layer: 0 after the embeddings, l after block l
---@field enter? fun(layer: integer, x: icot.Tensor): icot.Tensor? is given what would enter block `layer` (from 1 on),
---   (T, C), and gives what shall enter it; nil: neither it nor any later block is needed

-- ---- Dropout ------------------------------------------------------------------------------------

-- The attention's weights, what it gives, what the MLP gives; and what enters the first block.
local places, EACH = { weights = 0, attn = 1, mlp = 2, embeddings = 0 }, 3

--- The stream that a dropout of GPT-2 draws from: each has one of its own, so that no two of them drop by the same
--- random numbers. Which it is belongs to what a seed means: with others the same seed would train another model.
---@param layer integer the block, from 1 on; 0: before the first
---@param place 'weights'|'attn'|'mlp'|'embeddings' 'embeddings' in layer 0, the others in blocks
---@return integer
function block.dropout_stream(layer, place)
  return EACH * layer + places[place]
end

-- ---- Attention ----------------------------------------------------------------------------------

--- Causal self-attention: nn.Attention(width, heads, { layer, std, projection_std, dropout, generator }).
--- x (T, C) of packed sequences -> (T, C), or (R, C) if only R rows of the result are asked for.
---@class icot.nn.Attention: icot.Module
block.Attention = class.new('Attention')

---@param width integer of the residual stream
---@param heads integer
---@param options? { layer?: integer, std?: number, projection_std?: number, dropout?: number,
---   generator?: icot.Generator } layer: number of its block, from 1 (default), on which its place in a cache and its
---   dropout depend; std: of the initial weights, projection_std: of those of the output
---raises an error when the heads cannot share the width
function block.Attention:init(width, heads, options)
  options = options or {}
  if width % heads ~= 0 then errors.raise('attention: a width of %d cannot be shared by %d heads', width, heads) end
  local generator = options.generator
  self.heads, self.layer = heads, options.layer or 1
  self.c_attn = layers.Linear(width, 3 * width, { std = options.std, generator = generator })
  self.c_proj = layers.Linear(width, width, { std = options.projection_std or options.std, generator = generator })
  self.attn_dropout = layers.Dropout(options.dropout or 0, block.dropout_stream(self.layer, 'weights'))
  self.resid_dropout = layers.Dropout(options.dropout or 0, block.dropout_stream(self.layer, 'attn'))
end

-- The second, which was made from the first: that one is only needed for backward from now on.
local function instead(before, made)
  before:release()
  return made
end

-- residual + dropout(layer), where layer(residual or nil) computes the layer.
local function onto(residual, dropout, context, rows, layer)
  if not dropout:draw(context) then return layer(residual) end
  local made = layer()
  return instead(made, dropout(made, context, rows, residual))
end

-- Step by step: where attention reads a cache, or rows are picked and nothing is added to them yet.
local function attend(self, x, context, rows)
  local qkv, cache = self.c_attn(x), context.cache
  local mixed = cache and cache:attend(self, qkv, context)
    or instead(qkv, qkv:attention(context.cu_seqlens, self.heads, self.attn_dropout:draw(context)))
  return rows and instead(mixed, mixed:embedding(rows)) or mixed
end

--- Attends, and adds the result to `residual`, if there is one.
---@param x icot.Tensor (T, C)
---@param context icot.Context
---@param rows? icot.Tensor int32 (R): only these rows of the result are wanted
---@param residual? icot.Tensor (T, C), or (R, C) with `rows`
---@return icot.Tensor (T, C) or (R, C)
function block.Attention:forward(x, context, rows, residual)
  return onto(residual, self.resid_dropout, context, rows, function(sum)
    if not context.cache and (sum or not rows) then
      return x:self_attention(self.c_attn, self.c_proj, context.cu_seqlens, self.heads,
                              self.attn_dropout:draw(context), sum, rows)
    end
    local mixed = attend(self, x, context, rows)
    return instead(mixed, self.c_proj(mixed, sum))
  end)
end

-- ---- The MLP and the block ----------------------------------------------------------------------

--- Two linear layers with GELU between: nn.MLP(width, { hidden, std, projection_std, dropout, generator }).
--- x (T, C) -> (T, C), or (R, C) -> (R, C) with `rows`, those of the targets.
---@class icot.nn.MLP: icot.Module
block.MLP = class.new('MLP')

---@param width integer
---@param options? { hidden?: integer, layer?: integer, std?: number, projection_std?: number, dropout?: number,
---   generator?: icot.Generator } hidden: 4·width by default; the others as of Attention
function block.MLP:init(width, options)
  options = options or {}
  local hidden, generator = options.hidden or 4 * width, options.generator
  self.c_fc = layers.Linear(width, hidden, { std = options.std, generator = generator })
  self.c_proj = layers.Linear(hidden, width, { std = options.projection_std or options.std, generator = generator })
  self.dropout = layers.Dropout(options.dropout or 0, block.dropout_stream(options.layer or 1, 'mlp'))
end

--- Computes it, and adds the result to `residual`, if there is one.
---@param x icot.Tensor (T, C)
---@param context icot.Context
---@param rows? icot.Tensor int32 (R): given if x has only these rows, (R, C), which dropout has to know
---@param residual? icot.Tensor of the shape of x
---@return icot.Tensor of the shape of x
function block.MLP:forward(x, context, rows, residual)
  local fc, proj = self.c_fc, self.c_proj
  return onto(residual, self.dropout, context, rows, function(sum)
    return x:mlp(fc.weight, fc.bias, proj.weight, proj.bias, sum)
  end)
end

--- One block of GPT-2, norms first: nn.Block(width, heads, options of Attention and MLP, eps).
--- x (T, C) -> (T, C). With `rows`, int32 (R), only these rows of the result are worked out, (R, C): all rows are
--- attended to, but what is not asked for takes no part in the projections and the MLP.
---@class icot.nn.Block: icot.Module
block.Block = class.new('Block')

---@param width integer
---@param heads integer
---@param options? table those of Attention and MLP, and `eps` of the layer norms (1e-5)
function block.Block:init(width, heads, options)
  options = options or {}
  self.ln_1 = layers.LayerNorm(width, options)
  self.attn = block.Attention(width, heads, options)
  self.ln_2 = layers.LayerNorm(width, options)
  self.mlp = block.MLP(width, options)
end

-- Operator by operator; also in decoding.
local function step_by_step(self, x, context, rows)
  local normed = self.ln_1(x)
  local mid = instead(normed, self.attn(normed, context, rows, rows and x:embedding(rows) or x))
  normed = self.ln_2(mid)
  return instead(mid, instead(normed, self.mlp(normed, context, rows, mid)))
end

local function all_at_once(self, x, context, rows)
  local attn, mlp = self.attn, self.mlp
  return x:block(self, context.cu_seqlens, {
    weights = attn.attn_dropout:draw(context), attn = attn.resid_dropout:draw(context, rows),
    mlp = mlp.dropout:draw(context, rows),
  }, rows)
end

---@param x icot.Tensor (T, C)
---@param context icot.Context
---@param rows? icot.Tensor int32 (R)
---@return icot.Tensor (T, C), or (R, C) with `rows`
function block.Block:forward(x, context, rows)
  local fused = tensor.fuses_layers() and not context.cache
  return (fused and all_at_once or step_by_step)(self, x, context, rows)
end

return block
