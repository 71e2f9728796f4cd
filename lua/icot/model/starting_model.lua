--- The GPT-2 that a run starts from, checked against its data: a new one, a pretrained one, or what a run has left.
local cleanup = require 'icot.base.cleanup'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local gpt2 = require 'icot.gpt2'
local machine = require 'icot.engine.machine'
local model_file = require 'icot.model.model_file'
local pretrained = require 'icot.gpt2.pretrained'

local starting_model = {}

--- The context of a new model, or of a pretrained one, where the recipe's configuration has it.
---@param config table resolved configuration (icot.recipe.fields.run)
---@param data icot.Dataset
---@return integer positions
---raises an error when it is too short for the examples
function starting_model.context_for(config, data)
  local context = config.model.context or data.max_length
  if data.max_length > context then
    errors.raise('model.context: the longest example has %d tokens%s, but the context is only %d; raise model.context',
                 data.max_length, data.room_for and ' with its thoughts (removal.thoughts)' or '', context)
  end
  return context
end

--- Makes sure that each symbol of a dataset has an id in a checkpoint, and the same one, where the checkpoint tells. A
--- pause token after all others may be new to it.
---@param words icot.Vocabulary|icot.Tokenizer of the dataset
---@param folder string
---@param who string who asks, for messages
function starting_model.check_vocabulary(words, folder, who)
  local known = pretrained.inspect(folder, who).vocab_size
  local own = words.pause == words.size - 1 and words.pause or words.size
  if own > known then
    errors.raise("%s: the dataset has %d symbols, but the checkpoint knows %d; it can only go on with those (text "
                 .. "files take them with dataset.tokenizer = '%s')", who, own, known, folder)
  end
  local saved = model_file.vocabulary(folder)
  for i, symbol in ipairs(saved and words.symbols or {}) do
    if saved.symbols[i] ~= symbol and i <= known then
      errors.raise("%s: id %d is '%s' in the dataset, but '%s' in %s/vocabulary.json", who, i - 1, symbol,
                   tostring(saved.symbols[i]), folder)
    end
  end
end

-- Gives the model a row for each symbol that is new to it.
local function add_symbols(model, words)
  if words.size <= model.config.vocab_size then return end
  cleanup.or_free(model, model.resize_token_embeddings, words.size)
end

--- A model from a folder, as large as the recipe and its data want it.
---@param config table resolved configuration (icot.recipe.fields.run)
---@param data icot.Dataset
---@param folder string
---@param who? string the field that names the folder, for messages; 'model.pretrained' by default
---@return icot.GPT2
---raises an error when its context is too short for the examples, or it doesn't know their symbols
function starting_model.load(config, data, folder, who)
  starting_model.check_vocabulary(data.vocabulary, folder, who or 'model.pretrained')
  local context = starting_model.context_for(config, data)
  local model = gpt2.from_pretrained(folder, { context = context, dropout = config.model.dropout })
  add_symbols(model, data.vocabulary)
  return model
end

local GIB = 2 ^ 30
local BYTES_EACH = 4 -- of a parameter; in training four times as many, with its gradient and two moments

-- A model that cannot fit is refused at once, where filling the memory with it would take minutes.
local function check_size(config)
  local parameters, memory = gpt2.count_parameters(config), machine.memory()
  if core.device() ~= 'cpu' or parameters * BYTES_EACH <= memory then return end
  errors.raise('model: %.3g parameters alone take %.0f GiB, and this machine has %.0f GiB; a smaller model.width or '
               .. 'model.layers needs less', parameters, parameters * BYTES_EACH / GIB,
               memory / GIB)
end

--- The model as the recipe has it.
---@param config table resolved configuration (icot.recipe.fields.run)
---@param data icot.Dataset
---@param seed integer of its initial parameters, if it is a new one
---@return icot.GPT2
function starting_model.make(config, data, seed)
  local given, context = config.model, starting_model.context_for(config, data)
  if given.pretrained then return starting_model.load(config, data, given.pretrained) end
  local sizes = {
    vocab_size = data.vocabulary.size, layers = given.layers, heads = given.heads, width = given.width,
    context = context, dropout = given.dropout, initializer_range = given.initializer_range,
  }
  check_size(sizes)
  return gpt2.new(sizes, seed)
end

return starting_model
