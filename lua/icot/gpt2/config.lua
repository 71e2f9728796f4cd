--- GPT-2's config.json: what we read of it and write to it, and what of it we don't compute.
local errors = require 'icot.base.errors'
local options = require 'icot.base.options'

local gpt2_config = {}

-- A setting that changes the computation; we do it in one way only.
local function only(value)
  return { type = {}, also = { value }, default = value }
end

-- Fields that matter, with the defaults of Hugging Face's GPT2Config. All others say nothing about the computation.
local fields = {
  model_type = { type = 'string', one_of = { 'gpt2' }, required = true },
  vocab_size = { type = 'integer', min = 1, max = 1e8, default = 50257 },
  n_layer = { type = 'integer', min = 1, max = 1000, default = 12 },
  n_head = { type = 'integer', min = 1, max = 1000, default = 12 },
  n_embd = { type = 'integer', min = 1, max = 100000, default = 768 },
  n_positions = { type = 'integer', min = 1, max = 1e6, default = 1024 },
  n_inner = { type = 'integer' },
  activation_function = { type = 'string', one_of = { 'gelu_new' }, default = 'gelu_new' },
  layer_norm_epsilon = { type = 'number', above = 0, max = 1, default = 1e-5 },
  initializer_range = { type = 'number', min = 0, max = 10, default = 0.02 },
  tie_word_embeddings = { type = 'boolean', default = true },
  scale_attn_weights = only(true),
  scale_attn_by_inverse_layer_idx = only(false),
  add_cross_attention = only(false),
}

local function check_sizes(read, where)
  if read.n_embd % read.n_head ~= 0 then
    errors.raise('%s: n_embd: got %d, expected a multiple of n_head (%d)', where, read.n_embd, read.n_head)
  end
  if read.n_inner and read.n_inner ~= 4 * read.n_embd then
    errors.raise('%s: n_inner: got %d, expected 4 times n_embd (%d)', where, read.n_inner, 4 * read.n_embd)
  end
end

--- Reads what a config.json says.
---@param given table its contents, decoded
---@param where string its path, for messages
---@return icot.GPT2Config config without dropout
---@return boolean tied whether the head is the token embedding, without weights of its own
---raises an error that names the field
function gpt2_config.from_hugging_face(given, where)
  local known = {}
  for name in pairs(fields) do
    local value = given[name]
    if type(value) ~= 'userdata' then known[name] = value end -- null stands for the default
  end
  local read = options.check(fields, known, where)
  check_sizes(read, where)
  return {
    vocab_size = read.vocab_size, layers = read.n_layer, heads = read.n_head, width = read.n_embd,
    context = read.n_positions, layer_norm_epsilon = read.layer_norm_epsilon,
    initializer_range = read.initializer_range,
  }, read.tie_word_embeddings
end

--- The contents of config.json for a model of ours.
---@param config icot.GPT2Config
---@return table
function gpt2_config.to_hugging_face(config)
  return {
    model_type = 'gpt2', architectures = { 'GPT2LMHeadModel' }, torch_dtype = 'float32',
    vocab_size = config.vocab_size, n_layer = config.layers, n_head = config.heads, n_embd = config.width,
    n_positions = config.context, n_ctx = config.context, activation_function = 'gelu_new',
    layer_norm_epsilon = config.layer_norm_epsilon or 1e-5, initializer_range = config.initializer_range or 0.02,
    embd_pdrop = config.dropout, attn_pdrop = config.dropout, resid_pdrop = config.dropout,
    tie_word_embeddings = true,
  }
end

return gpt2_config
