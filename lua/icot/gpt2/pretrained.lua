--- Models from folders that Hugging Face or icot has saved.
---
--- Everything is checked before memory is taken for the model: config.json against what we compute, then names, shapes
--- and dtypes of all tensors against config.json. The weights are then read straight into the parameters.
local cleanup = require 'icot.base.cleanup'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local gpt2_config = require 'icot.gpt2.config'
local gpt2_model = require 'icot.gpt2.model'
local json = require 'icot.base.json'
local options = require 'icot.base.options'
local pretrained_weights = require 'icot.gpt2.pretrained_weights'
local scope = require 'icot.engine.scope'
local tensor_text = require 'icot.tensor.text'
local values = require 'icot.base.values'

local pretrained = {}

local LONGEST_CONFIG = 2 ^ 20 -- bytes
local HEAD, TOKENS, POSITIONS = 'lm_head.weight', 'wte.weight', 'wpe.weight'

---@class icot.PretrainedOptions
---@field context? integer most positions; by default as many as the checkpoint has
---@field dropout? number 0 by default
local load_options = {
  context = { type = 'integer', min = 1, max = 1000000, doc = 'number of positions' },
  dropout = {
    type = 'number', min = 0, below = 1, default = 0,
    doc = 'dropout of embeddings, attention and residuals',
  },
}

-- ---- config.json --------------------------------------------------------------------------------

-- The config.json of a folder, and whether the head is the token embedding. `who` asks for it, for messages.
local function read_config(folder, who)
  if type(folder) ~= 'string' or files.kind(folder) ~= 'directory' then
    errors.raise('%s: got %s, expected a folder with config.json and model.safetensors', who, values.show(folder))
  end
  local path = folder .. '/config.json'
  local given = json.read_file(path, LONGEST_CONFIG)
  if type(given) ~= 'table' then errors.raise('%s: got %s, expected a table', path, values.show(given)) end
  return gpt2_config.from_hugging_face(given, path)
end

-- ---- Names and shapes ---------------------------------------------------------------------------

-- Shapes of the tensors of a block; Hugging Face's Conv1D has weights (in, out).
local function block_shapes(width)
  return {
    ['ln_1.weight'] = { width }, ['ln_1.bias'] = { width },
    ['attn.c_attn.weight'] = { width, 3 * width }, ['attn.c_attn.bias'] = { 3 * width },
    ['attn.c_proj.weight'] = { width, width }, ['attn.c_proj.bias'] = { width },
    ['ln_2.weight'] = { width }, ['ln_2.bias'] = { width },
    ['mlp.c_fc.weight'] = { width, 4 * width }, ['mlp.c_fc.bias'] = { 4 * width },
    ['mlp.c_proj.weight'] = { 4 * width, width }, ['mlp.c_proj.bias'] = { width },
  }
end

-- Shapes of all tensors that a checkpoint of this configuration has.
local function expected_shapes(config)
  local width = config.width
  local shapes = {
    [TOKENS] = { config.vocab_size, width }, [POSITIONS] = { config.context, width },
    ['ln_f.weight'] = { width }, ['ln_f.bias'] = { width },
  }
  for layer = 0, config.layers - 1 do
    for name, shape in pairs(block_shapes(width)) do shapes[('h.%d.%s'):format(layer, name)] = shape end
  end
  return shapes
end

-- The causal mask and its value, which older versions stored with every layer.
local function is_unused_buffer(name)
  return name:find('^h%.%d+%.attn%.bias$') or name:find('^h%.%d+%.attn%.masked_bias$')
end

-- Raises an error that names tensors: the first few of them, and how many more there are.
local function raise_names(weights, problem, list)
  if #list == 0 then return end
  table.sort(list)
  local shown, more = table.concat(list, ', ', 1, math.min(#list, 3)), ''
  if #list > 3 then more = (' and %d more'):format(#list - 3) end
  errors.raise('%s: %s: %s%s', weights.path, problem, shown, more)
end

local readable = { F32 = true, F16 = true, BF16 = true }

local function check_tensor(weights, name, info, shape)
  local found, wanted = tensor_text.shape(info.shape), tensor_text.shape(shape)
  if found ~= wanted then
    errors.raise('%s: tensor %s has shape %s, but config.json asks for %s', weights.path, name, found, wanted)
  elseif not readable[info.dtype] then
    errors.raise('%s: tensor %s has dtype %s, expected F32, F16 or BF16', weights.path, name, info.dtype)
  end
end

-- Checks that the weights are those of the configuration, neither more nor less.
local function check_weights(weights, config, tied)
  local expected, missing, unknown = expected_shapes(config), {}, {}
  if weights:info(HEAD) or not tied then expected[HEAD] = expected[TOKENS] end
  for name, shape in pairs(expected) do
    local info = weights:info(name)
    if info then check_tensor(weights, name, info, shape) else missing[#missing + 1] = name end
  end
  for _, name in ipairs(weights:names()) do
    if not expected[name] and not is_unused_buffer(name) then unknown[#unknown + 1] = values.show(name) end
  end
  raise_names(weights, 'missing tensors', missing)
  raise_names(weights, "tensors that GPT-2 doesn't have", unknown)
end

-- ---- Weights ------------------------------------------------------------------------------------

-- Positions (context, width): cut to the model's context, or extended by repeating the last one.
local function read_positions(weights, into)
  local there, wanted = weights:info(POSITIONS).shape[1], into:size(0)
  if there == wanted then return weights:read_into(POSITIONS, into) end
  local given, kept = weights:read(POSITIONS), math.min(there, wanted)
  into:narrow(0, 0, kept):write(given:narrow(0, 0, kept):read())
  if wanted > there then
    local last = given:narrow(0, there - 1, 1):expand(wanted - there, into:size(1))
    into:narrow(0, there, wanted - there):write(last:read())
  end
end

-- A head of its own is accepted as long as it is the token embedding: other heads we don't compute.
local function check_head(weights, tokens)
  if not weights:info(HEAD) then return end
  local head = weights:read(HEAD)
  for row = 0, tokens:size(0) - 1 do
    local a, n = head:narrow(0, row, 1):read()
    local b = tokens:narrow(0, row, 1):read()
    for i = 0, n - 1 do
      if a[i] ~= b[i] and (a[i] == a[i] or b[i] == b[i]) then -- NaN is the same as NaN here
        errors.raise("%s: tensor %s differs from %s; a head that isn't tied to the embedding is not supported",
                     weights.path, HEAD, TOKENS)
      end
    end
  end
end

local function read_weights(weights, model)
  for _, each in ipairs(model:hugging_face_tensors()) do
    local name = each.name:gsub('^transformer%.', '')
    if name == POSITIONS then
      read_positions(weights, each.tensor)
    else
      weights:read_into(name, each.tensor)
    end
  end
  check_head(weights, model.transformer.wte.weight:detach())
end

-- ---- Models -------------------------------------------------------------------------------------

-- Calls body(weights, config) with the weights of a folder, checked; they are closed after it.
local function with_weights(folder, who, body)
  local config, tied = read_config(folder, who)
  local weights = pretrained_weights.open(folder)
  return cleanup.always(function() weights:close() end, function()
    check_weights(weights, config, tied)
    return body(weights, config)
  end)
end

local function make_model(weights, config)
  local blank = values.copy(config)
  blank.initializer_range = 0 -- all parameters will be read
  local model = gpt2_model.new(blank, 0)
  model.config = config
  cleanup.or_free(model, function() scope.run(read_weights, weights, model) end)
  return model
end

--- Loads a model: `gpt2.from_pretrained`.
---@param folder string
---@param given? icot.PretrainedOptions
---@return icot.GPT2
function pretrained.load(folder, given)
  local wanted = options.check(load_options, given or {}, 'from_pretrained')
  local model = with_weights(folder, 'from_pretrained', function(weights, config)
    config.context, config.dropout = wanted.context or config.context, wanted.dropout
    return make_model(weights, config)
  end)
  model.pretrained = { pretrained = folder, context = wanted.context, dropout = wanted.dropout }
  return model
end

--- Reads the parameters of a folder into a model that is there.
---@param model icot.GPT2 with as many parameters, of the same shapes
---@param folder string
---raises an error as `load` does; when a file ends early, part of the parameters may have been read
function pretrained.read_into(model, folder)
  with_weights(folder, 'checkpoint', function(weights) scope.run(read_weights, weights, model) end)
end

--- Checks a folder as `load` does, but for the numbers in its weights.
---@param folder string
---@param who string who asks for it, at the start of a message
---@return icot.GPT2Config config without dropout
function pretrained.inspect(folder, who)
  return with_weights(folder, who, function(_, config) return config end)
end

return pretrained
