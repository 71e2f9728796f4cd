--- What a run trains: a GPT-2, one that reasons in continuous thoughts (icot.model.coconut), or several networks around
--- one that answers (icot.model.distillation).
local Coconut = require 'icot.model.coconut.model'
local distillation = require 'icot.model.distillation.model'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local gpt2 = require 'icot.gpt2'
local methods = require 'icot.schedule.methods'
local pretrained = require 'icot.gpt2.pretrained'
local starting_model = require 'icot.model.starting_model'
local values = require 'icot.base.values'

local model = {}

---@class icot.Model: icot.Module parameters are those that are trained
---@field loss fun(self, batch: icot.Batch|icot.BatchPart, dropout?: table, watch?: fun(...)): icot.Tensor, ...
---   loss; where tokens are predicted also the logits (R, vocab_size), and the targets, int32 (R)
---@field loss_terms fun(self, batch: icot.Batch|icot.BatchPart): integer of how many numbers the loss is the mean
---@field step_flops fun(self, shape: icot.BatchShape): number floating-point operations of a training step
---@field decoding fun(self, prompts: icot.Batch): icot.GPT2, function? the network that writes the answer, and the
---   `enter` (icot.Context) of its pass over the prompts
---@field has_thoughts boolean? the pauses that a prompt ends with are places where it thinks (icot.model.coconut.model)
---@field reads_cot boolean? its batches and prompts need the same examples with all their CoT beside them
---@field squared_error boolean? the loss is no cross-entropy, so guessing says nothing about how large it may be
---@field note string? what the user should know about its accuracy
---@field hugging_face_tensors fun(self): { name: string, tensor: icot.Tensor }[] of the network that writes the answer
---@field hugging_face_config fun(self): table
---@field other_tensors? fun(self): table<string, icot.Tensor> what else has to be saved

-- The sizes of a model do not change on the way: they are checked. Its context, if none is asked for, is what it was.
---@return table config with that
local function check_sizes(config, data, from)
  local found = pretrained.inspect(from.model_folder, 'checkpoint')
  local function check(name, wanted)
    if found[name] == wanted then return end
    errors.raise('model.%s: is %d in the checkpoint %s and would be %d now; start a new run from it with '
                 .. 'model.pretrained', name, found[name], from.path, wanted)
  end
  for _, name in ipairs { 'layers', 'heads', 'width' } do check(name, config.model[name]) end
  check('context', math.max(config.model.context or found.context, data.max_length))
  check('vocab_size', math.max(found.vocab_size, data.vocabulary.size))
  local sized = values.copy(config.model)
  sized.context = found.context
  return setmetatable({ model = sized }, { __index = config })
end

-- The GPT-2, or, where its method has it think, that around it.
local function in_thought(config, made)
  return methods.has_thoughts(config.method) and Coconut.new(made) or made
end

--- The model of a run, as its recipe has it or as a checkpoint left it.
---@param config table resolved configuration (icot.recipe.fields.run)
---@param data icot.Dataset
---@param from? icot.Checkpoint
---@return icot.Model
function model.make(config, data, from)
  local folder = from and from.model_folder
  if folder then config = check_sizes(config, data, from) end
  if methods.is_distillation(config.method) then
    return distillation.make(config, data, folder)
  end
  local made = folder and starting_model.load(config, data, folder, 'checkpoint')
    or starting_model.make(config, data, config.seed)
  made.activation_checkpointing = config.train.activation_checkpointing
  return in_thought(config, made)
end

local function load(found, data)
  local config = found.description.config
  starting_model.check_vocabulary(data.vocabulary, found.model_folder, 'dataset')
  if methods.is_distillation(config.method) then
    return distillation.load(config, found.model_folder)
  end
  return in_thought(config, gpt2.from_pretrained(found.model_folder))
end

--- The model of a checkpoint, for whoever looks at a run, which may continue meanwhile.
---@param found icot.Checkpoint of a step above 0
---@param data icot.Dataset
---@return icot.Model
---raises an error when the dataset has other symbols than the model, or the run has removed the checkpoint
function model.of_checkpoint(found, data)
  local ok, result = pcall(load, found, data)
  if ok then return result end
  if files.kind(found.path) then error(result, 0) end
  errors.raise('%s: was removed meanwhile, since its run continues (checkpoint.keep); try again', found.path)
end

return model
