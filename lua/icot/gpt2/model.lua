--- GPT-2 with a tied output head, over packed sequences. Parameters have Hugging Face's names. Who wants one from a
--- folder, too, takes icot.gpt2.
local errors = require 'icot.base.errors'
local gpt2_config = require 'icot.gpt2.config'
local nn = require 'icot.nn'
local random = require 'icot.engine.random'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local gpt2_model = {}

---@class icot.GPT2Config
---@field vocab_size integer
---@field layers integer
---@field heads integer
---@field width integer
---@field context integer most positions
---@field dropout number 0: none
---@field initializer_range? number standard deviation of the initial weights, 0.02 by default
---@field layer_norm_epsilon? number 1e-5 by default

--- Sizes by name, as released by OpenAI.
---@type table<string, { layers: integer, heads: integer, width: integer }>
gpt2_model.presets = {
  small = { layers = 12, heads = 12, width = 768 },
  medium = { layers = 24, heads = 16, width = 1024 },
  large = { layers = 36, heads = 20, width = 1280 },
  xl = { layers = 48, heads = 25, width = 1600 },
}

---@class icot.GPT2: icot.Module
---@field config icot.GPT2Config
---@field activation_checkpointing? boolean what a block computes is dropped, and computed again in backward
---@field pretrained? table where it came from, as a recipe's `model` says it
local GPT2 = nn.class('GPT2')

--- Initial values as in GPT-2: normal with standard deviation 0.02, the projections that add to the residual stream
--- scaled by 1/√(2·layers), so that its variance doesn't grow with depth.
function GPT2:init(config, seed)
  local generator = random.generator(seed)
  local std = config.initializer_range or 0.02
  self.config = config
  local transformer = {
    wte = nn.Embedding(config.vocab_size, config.width, { std = std, generator = generator }),
    wpe = nn.Embedding(config.context, config.width, { std = std, generator = generator }),
    drop = nn.Dropout(config.dropout, nn.dropout_stream(0, 'embeddings')),
    h = {},
    ln_f = nn.LayerNorm(config.width, { eps = config.layer_norm_epsilon }),
  }
  for layer = 1, config.layers do
    transformer.h[layer] = nn.Block(config.width, config.heads, {
      layer = layer, std = std, projection_std = std / math.sqrt(2 * config.layers),
      dropout = config.dropout, eps = config.layer_norm_epsilon, generator = generator,
    })
  end
  self.transformer = transformer
end

--- A new model with random parameters.
---@param config icot.GPT2Config
---@param seed integer
---@return icot.GPT2
function gpt2_model.new(config, seed)
  for _, name in ipairs { 'vocab_size', 'layers', 'heads', 'width', 'context' } do
    local value = config[name]
    if type(value) ~= 'number' or value < 1 or value % 1 ~= 0 then
      errors.raise('gpt2: %s is %s, expected an integer of at least 1', name, tostring(value))
    end
  end
  local model
  scope.all_or_none(function()
    model = GPT2(config, seed)
    return model:parameters()
  end)
  return model
end

--- Whether a value is a GPT-2 model.
---@param value any
---@return boolean
function gpt2_model.is_model(value)
  return type(value) == 'table' and getmetatable(value) == GPT2
end

local function no_watch() end
local function enter_unchanged(_, x) return x end

-- Of a state that nobody was shown only backward has use, once the next one is made from it.
local function release(state, context)
  if not (context.watch or context.enter) then state:release() end
end

--- Hidden states after the last layer norm. Of the last block only the rows that are asked for are worked out.
---@param tokens icot.Tensor int32 (T), sequences end to end
---@param positions icot.Tensor int32 (T)
---@param context icot.Context
---@param rows? icot.Tensor int32 (R); all rows if nil
---@return icot.Tensor? (R, width); nil where `context.enter` ended it
function GPT2:hidden(tokens, positions, context, rows)
  local transformer = self.transformer
  local x = tensor.apply('token_position_embedding',
                         { transformer.wte.weight, transformer.wpe.weight, tokens, positions })
  x = transformer.drop(x, context)
  local watch, enter, last = context.watch or no_watch, context.enter or enter_unchanged, #transformer.h
  watch('the embeddings', x, 0)
  for i, block in ipairs(transformer.h) do
    x = enter(i, x)
    if not x then return nil end
    local wanted, before = i == last and rows or nil, x
    x = self.activation_checkpointing and tensor.checkpoint(block, x, context, wanted) or block(x, context, wanted)
    release(before, context)
    watch('transformer.h.' .. i - 1, x, i)
  end
  local normed = transformer.ln_f(x)
  release(x, context)
  watch('transformer.ln_f', normed)
  return normed
end

--- What enters the first block, dropout aside, where a hidden state is read in the place of a token: a continuous
--- thought (Hao et al. 2024).
---@param states icot.Tensor (R, width) after the last layer norm
---@param positions icot.Tensor int32 (R)
---@return icot.Tensor (R, width)
function GPT2:thoughts(states, positions)
  return states + self.transformer.wpe.weight:embedding(positions)
end

--- Logits of hidden states.
---@param hidden icot.Tensor (R, width)
---@return icot.Tensor (R, vocab_size)
function GPT2:logits(hidden)
  return hidden:linear(self.transformer.wte.weight)
end

--- Loss of a packed batch at its target rows, the logits there, and what they should predict.
---@param batch icot.Batch|icot.BatchPart
---@param dropout? { seed: integer, step: integer } while training
---@param watch? fun(name: string, output: icot.Tensor, layer?: integer) see icot.Context
---@param enter? fun(layer: integer, x: icot.Tensor): icot.Tensor see icot.Context
---@return icot.Tensor loss scalar
---@return icot.Tensor logits (R, vocab_size)
---@return icot.Tensor targets int32 (R)
function GPT2:loss(batch, dropout, watch, enter)
  local inputs = batch:tensors()
  local context = {
    cu_seqlens = inputs.cu_seqlens, dropout = dropout, watch = watch, enter = enter,
    first_token = batch.first_token, first_target = batch.first_target,
  }
  local hidden = self:hidden(inputs.tokens, inputs.positions, context, inputs.target_rows)
  local logits = self:logits(hidden)
  return logits:cross_entropy(inputs.targets), logits, inputs.targets
end

--- Of how many numbers the loss of a batch is the mean.
---@param batch icot.Batch|icot.BatchPart
---@return integer
function GPT2.loss_terms(_, batch)
  return batch:targets()
end

--- The network that writes answers to prompts: this one, with nothing beside it (see icot.Model).
---@return icot.GPT2
function GPT2:decoding()
  return self
end

--- Floating-point operations of one training step (forward and backward): 6 per weight and token in the matrix
--- products, and for attention 12·width per layer and pair of tokens that see each other, halved since causal. Only the
--- targets' rows pass through what follows attention in the last block (9 of a block's 12·width² weights) and the head.
--- What activation checkpointing computes a second time is not counted.
---@param n_tokens integer
---@param n_targets integer
---@param pairs number sum over sequences of length²
---@return number
function GPT2:training_flops(n_tokens, n_targets, pairs)
  local c = self.config
  local square = c.width * c.width
  local all_rows, target_rows = (12 * c.layers - 9) * square, 9 * square + c.vocab_size * c.width
  return 6 * (all_rows * n_tokens + target_rows * n_targets) + 6 * c.layers * c.width * pairs
end

--- The same of a batch.
---@param shape icot.BatchShape
---@return number
function GPT2:step_flops(shape)
  return self:training_flops(shape.tokens, shape.targets, shape.pairs)
end

--- Gives the token embedding, and with it the tied head, more rows. Each is the mean of those that were there, so that
--- its token is about as likely as any other (Hewitt 2021); nothing is drawn.
---@param vocab_size integer more than there are now
function GPT2:resize_token_embeddings(vocab_size)
  local wte, more = self.transformer.wte, vocab_size - self.config.vocab_size
  local made = scope.all_or_none(function()
    local rows = wte.weight:detach()
    return { tensor.concat({ rows, rows:mean(0, true):expand(more, self.config.width) }, 0) }
  end)
  wte.weight:free()
  wte.weight, self.config.vocab_size = made[1]:requires_grad_(), vocab_size
end

-- ---- Hugging Face's form ------------------------------------------------------------------------

--- Weights that Hugging Face's Conv1D stores as (in, out), where PyTorch's Linear and ours have (out, in).
local function is_conv1d(name)
  return name:match('%.c_attn%.weight$') or name:match('%.c_proj%.weight$') or name:match('%.c_fc%.weight$')
end

--- The parameters as a Hugging Face GPT-2 checkpoint stores them: views, so that reading or writing them reads or
--- writes the model. Call it inside a scope.
---@return { name: string, tensor: icot.Tensor }[]
function GPT2:hugging_face_tensors()
  local list = {}
  for i, each in ipairs(self:named_parameters()) do
    local stored = each.tensor:detach()
    if is_conv1d(each.name) then stored = stored:transpose(0, 1) end
    list[i] = { name = each.name, tensor = stored }
  end
  return list
end

--- The contents of config.json for `GPT2LMHeadModel.from_pretrained`.
---@return table
function GPT2:hugging_face_config()
  return gpt2_config.to_hugging_face(self.config)
end

return gpt2_model
