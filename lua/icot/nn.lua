--- Layers, and how to write one's own:
---
---     local Gate = nn.class('Gate')
---     function Gate:init(width) self.gate = nn.Linear(width, width) end
---     function Gate:forward(x) return x * self.gate(x):sigmoid() end
---
--- Layers are made by calling their class and applied by calling them. Parameters are found by walking the fields:
--- a tensor that requires a gradient is a parameter, a layer or a list of layers is walked into.
local ffi = require 'ffi'
local core = require 'icot.core'
local errors = require 'icot.errors'
local random = require 'icot.random'
local tensor = require 'icot.tensor'

local nn = {}

-- ---- Classes ------------------------------------------------------------------------------------

---@class icot.Module
---@field init fun(self, ...) called when a layer is made
---@field forward fun(self, x: icot.Tensor, ...): icot.Tensor called when a layer is applied
local Module = {}

--- Named fields in a fixed order: names sorted, lists by index. Lists count from 0 in names, as in PyTorch.
local function sorted_fields(owner)
  local names = {}
  for name in pairs(owner) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == 'number'
  end)
  return names
end

local function walk(owner, prefix, found, seen)
  if seen[owner] then return end
  seen[owner] = true
  for _, name in ipairs(sorted_fields(owner)) do
    local value = owner[name]
    local path = prefix .. tostring(type(name) == 'number' and name - 1 or name)
    if tensor.is_tensor(value) then
      if not seen[value] and value:requires_grad() then found[#found + 1] = { name = path, tensor = value } end
      seen[value] = true
    elseif type(value) == 'table' then
      walk(value, path .. '.', found, seen)
    end
  end
end

--- All parameters with their names, in a fixed order; one that is used twice (tied) is listed once.
---@return { name: string, tensor: icot.Tensor }[]
function Module:named_parameters()
  local found = {}
  walk(self, '', found, {})
  return found
end

--- All parameters, in the order of `named_parameters`.
---@return icot.Tensor[]
function Module:parameters()
  local list = {}
  for i, each in ipairs(self:named_parameters()) do list[i] = each.tensor end
  return list
end

--- Number of parameters, each element counted.
---@return integer
function Module:count_parameters()
  local count = 0
  for _, parameter in ipairs(self:parameters()) do count = count + parameter:numel() end
  return count
end

--- Frees all parameters.
function Module:free()
  for _, parameter in ipairs(self:parameters()) do parameter:free() end
end

--- A new class of layers.
---@param name string for messages
---@return icot.Module class call it to make a layer
function nn.class(name)
  local class = setmetatable({ name = name }, {
    __index = Module,
    __call = function(class, ...)
      local made = setmetatable({}, class)
      made:init(...)
      return made
    end,
  })
  class.__index = class
  class.__call = function(self, ...) return self:forward(...) end
  class.init = function() end
  class.forward = function() errors.raise("nn: the class '%s' has no forward function", name) end
  return class
end

--- A parameter: a tensor of normally distributed numbers that wants a gradient. With a std of 0 no number is drawn.
---@param shape integer[]
---@param options? { std?: number, generator?: icot.Generator }
---@return icot.Tensor
function nn.parameter(shape, options)
  options = options or {}
  if options.std == 0 then return tensor.zeros(shape):requires_grad_() end
  local generator = options.generator or random.default_generator()
  return tensor.randn(shape, { std = options.std or 0.02, key = generator:next() }):requires_grad_()
end

-- ---- Layers -------------------------------------------------------------------------------------

--- y = x·weightᵀ + bias; weight (out, in), bias (out).
--- options: `bias = false` leaves it out; `std` of the initial weights (1/√in by default); `generator`.
---@class icot.nn.Linear: icot.Module
---@field weight icot.Tensor (out, in)
---@field bias icot.Tensor? (out)
nn.Linear = nn.class('Linear')

function nn.Linear:init(in_features, out_features, options)
  options = options or {}
  local std = options.std or 1 / math.sqrt(in_features)
  self.weight = nn.parameter({ out_features, in_features }, { std = std, generator = options.generator })
  if options.bias ~= false then self.bias = tensor.zeros({ out_features }):requires_grad_() end
end

---@param x icot.Tensor (…, in)
---@param residual? icot.Tensor (…, out) is added; only to a layer with a bias
---@return icot.Tensor (…, out)
function nn.Linear:forward(x, residual)
  return x:linear(self.weight, self.bias, residual)
end

--- Normalization over the last dimension: nn.LayerNorm(width, { eps = 1e-5 }).
---@class icot.nn.LayerNorm: icot.Module
---@field weight icot.Tensor (width)
---@field bias icot.Tensor (width)
nn.LayerNorm = nn.class('LayerNorm')

function nn.LayerNorm:init(width, options)
  self.eps = options and options.eps or 1e-5
  self.weight = tensor.ones({ width }):requires_grad_()
  self.bias = tensor.zeros({ width }):requires_grad_()
end

function nn.LayerNorm:forward(x)
  return x:layer_norm(self.weight, self.bias, self.eps)
end

--- Rows by index: nn.Embedding(count, width, { std, generator }); ids int32 (…) -> (…, width).
---@class icot.nn.Embedding: icot.Module
---@field weight icot.Tensor (count, width)
nn.Embedding = nn.class('Embedding')

function nn.Embedding:init(count, width, options)
  self.weight = nn.parameter({ count, width }, options)
end

function nn.Embedding:forward(ids)
  return self.weight:embedding(ids)
end

--- Dropout: nn.Dropout(p, stream). Active only where the context says so, with `context.dropout = { seed, step }`;
--- each layer draws from a stream of its own, so the same step gives the same mask. What is drawn for a row hangs on
--- its place in the batch of the update (context.first_token, first_target), so that the parts of a batch get what the
--- whole would have got.
---@class icot.nn.Dropout: icot.Module
nn.Dropout = nn.class('Dropout')

function nn.Dropout:init(p, stream)
  self.p, self.stream = p, random.streams.dropout + (stream or 0)
end

--- What decides about the rows now, or nil when nothing is dropped.
---@param context? icot.Context
---@param at_targets? any true if the rows are those of the targets, not of all tokens
---@return { p: number, key: ffi.cdata*, first: integer }? first: number of the first row
function nn.Dropout:draw(context, at_targets)
  if self.p == 0 or not (context and context.dropout) then return nil end
  local first = at_targets and context.first_target or context.first_token
  return { p = self.p, key = random.key(context.dropout.seed, self.stream, context.dropout.step), first = first or 0 }
end

--- The result is added to `residual`, if there is one.
function nn.Dropout:forward(x, context, at_targets, residual)
  local drawn = self:draw(context, at_targets)
  if drawn then return x:dropout(drawn.p, drawn.key, drawn.first * x:size(-1), residual) end
  return residual and residual + x or x
end

-- ---- Recurrence ---------------------------------------------------------------------------------

--- One step of an LSTM, as PyTorch's: nn.LSTMCell(input, hidden, { std, generator }). The gates stand in the order
--- input, forget, cell, output: weight_ih (4H, in), weight_hh (4H, H), bias_ih and bias_hh (4H).
---@class icot.nn.LSTMCell: icot.Module
nn.LSTMCell = nn.class('LSTMCell')

function nn.LSTMCell:init(input, hidden, options)
  options = options or {}
  local drawn = { std = options.std or 1 / math.sqrt(3 * hidden), generator = options.generator } -- PyTorch's variance
  self.hidden = hidden
  self.weight_ih = nn.parameter({ 4 * hidden, input }, drawn)
  self.weight_hh = nn.parameter({ 4 * hidden, hidden }, drawn)
  self.bias_ih = tensor.zeros({ 4 * hidden }):requires_grad_()
  self.bias_hh = tensor.zeros({ 4 * hidden }):requires_grad_()
end

---@param x icot.Tensor (B, in)
---@param before? { hidden: icot.Tensor, cell: icot.Tensor } each (B, H); zeros by default
---@return { hidden: icot.Tensor, cell: icot.Tensor } after
function nn.LSTMCell:forward(x, before)
  local size = self.hidden
  local zeros = not before and tensor.zeros { x:size(0), size } or nil
  local hidden, cell = before and before.hidden or zeros, before and before.cell or zeros
  local gates = hidden:linear(self.weight_hh, self.bias_hh, x:linear(self.weight_ih, self.bias_ih)) -- (B, 4H)
  local function gate(k) return gates:narrow(1, k * size, size) end
  cell = gate(1):sigmoid() * cell + gate(0):sigmoid() * gate(2):tanh()
  return { hidden = gate(3):sigmoid() * cell:tanh(), cell = cell }
end

--- An LSTM that attends to what it gave before: nn.AttentiveLSTM(width, options of LSTMCell). Each step's query is
--- compared with the keys of the earlier steps, q·k/√C; what it finds there goes into its output, beside its hidden
--- state, and is added to the next step's input.
---@class icot.nn.AttentiveLSTM: icot.Module
nn.AttentiveLSTM = nn.class('AttentiveLSTM')

function nn.AttentiveLSTM:init(width, options)
  self.cell = nn.LSTMCell(width, width, options)
  self.query_proj, self.key_proj = nn.Linear(width, width, options), nn.Linear(width, width, options)
  self.out_proj = nn.Linear(2 * width, width, options)
end

-- What a query (B, C) finds among keys and values (B, n, C).
local function look_up(query, keys, values)
  local rows, width = query:size(0), query:size(1)
  local scores = keys:matmul(query:reshape(rows, width, 1)) * (1 / math.sqrt(width)) -- (B, n, 1)
  local weights = scores:reshape(rows, 1, -1):softmax()
  return weights:matmul(values):reshape(rows, width)
end

local function appended(list, entry)
  return list and tensor.concat({ list, entry }, 1) or entry
end

---@param x icot.Tensor (B, C)
---@param before? table what the step before gave as its second value; nil at the first step
---@return icot.Tensor output (B, C)
---@return table after
function nn.AttentiveLSTM:forward(x, before)
  local rows, width = x:size(0), x:size(1)
  local state = self.cell(before and x + before.found or x, before and before.state)
  local hidden = state.hidden
  local found = before and look_up(self.query_proj(hidden), before.keys, before.values) or tensor.zeros { rows, width }
  return self.out_proj(tensor.concat({ hidden, found }, 1)), {
    state = state, found = found,
    keys = appended(before and before.keys, self.key_proj(hidden):reshape(rows, 1, width)),
    values = appended(before and before.values, hidden:reshape(rows, 1, width)),
  }
end

-- ---- The transformer block of GPT-2 ---------------------------------------------------------------

---@class icot.Context what a forward pass needs beside the tokens
---@field cu_seqlens icot.Tensor int32 (B+1): where each of the packed sequences begins
---@field dropout? { seed: integer, step: integer } present while training
---@field first_token? integer rows of the whole batch before these, if they are a part of one; 0 by default
---@field first_target? integer the same, of rows with a target
---@field cache? icot.KVCache keys and values of earlier tokens, while decoding
---@field enter? fun(layer: integer, x: icot.Tensor): icot.Tensor? is given what would enter block `layer` (from 1 on),
---   (T, C), and gives what shall enter it; nil: neither it nor any later block is needed

local handle_out = ffi.new('icot_tensor[1]')

--- Causal self-attention: nn.Attention(width, heads, { layer, std, projection_std, dropout, generator }).
--- x (T, C) of packed sequences -> (T, C), or (R, C) if only R rows of the result are asked for.
---@class icot.nn.Attention: icot.Module
nn.Attention = nn.class('Attention')

function nn.Attention:init(width, heads, options)
  options = options or {}
  if width % heads ~= 0 then errors.raise('attention: a width of %d cannot be shared by %d heads', width, heads) end
  local generator = options.generator
  self.heads, self.layer = heads, options.layer or 1
  self.c_attn = nn.Linear(width, 3 * width, { std = options.std, generator = generator })
  self.c_proj = nn.Linear(width, width, { std = options.projection_std or options.std, generator = generator })
  self.attn_dropout = nn.Dropout(options.dropout or 0, 3 * self.layer)
  self.resid_dropout = nn.Dropout(options.dropout or 0, 3 * self.layer + 1)
end

local function attend_cached(self, qkv, context)
  local cache = context.cache
  core.check(core.C.icot_attention_cached(
    core.engine(), qkv.handle, context.cu_seqlens.handle, cache.slots.handle, cache.lengths.handle,
    cache.keys[self.layer].handle, cache.values[self.layer].handle, self.heads, handle_out))
  return tensor.wrap(handle_out[0])
end

-- The second, which was made from the first: of that nobody but backward will have use.
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
  local qkv = self.c_attn(x)
  local mixed = context.cache and attend_cached(self, qkv, context)
    or qkv:attention(context.cu_seqlens, self.heads, self.attn_dropout:draw(context))
  qkv:release()
  return rows and instead(mixed, mixed:embedding(rows)) or mixed
end

--- The result is added to `residual`, if there is one.
function nn.Attention:forward(x, context, rows, residual)
  return onto(residual, self.resid_dropout, context, rows, function(sum)
    if not context.cache and (sum or not rows) then
      return x:self_attention(self.c_attn, self.c_proj, context.cu_seqlens, self.heads,
                              self.attn_dropout:draw(context), sum, rows)
    end
    local mixed = attend(self, x, context, rows)
    return instead(mixed, self.c_proj(mixed, sum))
  end)
end

--- Two linear layers with GELU between: nn.MLP(width, { hidden, std, projection_std, dropout, generator }).
--- x (T, C) -> (T, C), or (R, C) -> (R, C) with `rows`, those of the targets.
---@class icot.nn.MLP: icot.Module
nn.MLP = nn.class('MLP')

function nn.MLP:init(width, options)
  options = options or {}
  local hidden, generator = options.hidden or 4 * width, options.generator
  self.c_fc = nn.Linear(width, hidden, { std = options.std, generator = generator })
  self.c_proj = nn.Linear(hidden, width, { std = options.projection_std or options.std, generator = generator })
  self.dropout = nn.Dropout(options.dropout or 0, 3 * (options.layer or 1) + 2)
end

--- The result is added to `residual`, if there is one.
function nn.MLP:forward(x, context, rows, residual)
  local fc, proj = self.c_fc, self.c_proj
  return onto(residual, self.dropout, context, rows, function(sum)
    return x:mlp(fc.weight, fc.bias, proj.weight, proj.bias, sum)
  end)
end

--- One block of GPT-2, norms first: nn.Block(width, heads, options of Attention and MLP, eps).
--- x (T, C) -> (T, C). With `rows`, int32 (R), only these rows of the result are worked out, (R, C): all rows are
--- attended to, but what nobody reads takes no part in the projections and the MLP.
---@class icot.nn.Block: icot.Module
nn.Block = nn.class('Block')

function nn.Block:init(width, heads, options)
  options = options or {}
  self.ln_1 = nn.LayerNorm(width, options)
  self.attn = nn.Attention(width, heads, options)
  self.ln_2 = nn.LayerNorm(width, options)
  self.mlp = nn.MLP(width, options)
end

-- Operator by operator; also in decoding.
local function step_by_step(block, x, context, rows)
  local normed = block.ln_1(x)
  local mid = instead(normed, block.attn(normed, context, rows, rows and x:embedding(rows) or x))
  normed = block.ln_2(mid)
  return instead(mid, instead(normed, block.mlp(normed, context, rows, mid)))
end

local function all_at_once(block, x, context, rows)
  local attn, mlp = block.attn, block.mlp
  return x:block(block, context.cu_seqlens, {
    weights = attn.attn_dropout:draw(context), attn = attn.resid_dropout:draw(context, rows),
    mlp = mlp.dropout:draw(context, rows),
  }, rows)
end

function nn.Block:forward(x, context, rows)
  local fused = tensor.fuses_layers() and not context.cache
  return (fused and all_at_once or step_by_step)(self, x, context, rows)
end

return nn
