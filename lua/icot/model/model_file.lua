--- Trained models as a folder that Hugging Face opens: model.safetensors, config.json, and our vocabulary.json.
---
---     GPT2LMHeadModel.from_pretrained('results/mult_4x4/icot-1')
---
--- What a model has beside the GPT-2 that answers lies in OTHERS, of which Hugging Face knows nothing.
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local json = require 'icot.base.json'
local safetensors = require 'icot.tensor.safetensors'
local scope = require 'icot.engine.scope'
local tokenizer = require 'icot.text.tokenizer'
local tokenizer_files = require 'icot.text.tokenizer_files'
local vocabulary = require 'icot.text.vocabulary'

local model_file = {}

local WEIGHTS = 'model.safetensors'
local LONGEST_VOCABULARY = 64 * 2 ^ 20 -- bytes
local LONGEST_CONFIG = 2 ^ 20 -- bytes

--- The networks beside the GPT-2 that answers; see icot.model.distillation.
model_file.OTHERS = 'distillation.safetensors'

--- All files that a folder may have of a model.
model_file.NAMES = {
  WEIGHTS, 'config.json', 'vocabulary.json', model_file.OTHERS, unpack(tokenizer_files.NAMES),
}

--- Those of them that Hugging Face opens, or that say how texts become ids, and what it puts beside them itself.
model_file.EXPORTED = {
  'config.json', 'generation_config.json', WEIGHTS, 'tokenizer_config.json', 'special_tokens_map.json',
  'vocabulary.json', unpack(tokenizer_files.NAMES),
}

local function write_tensors(path, model)
  local tensors = {}
  for _, each in ipairs(model:hugging_face_tensors()) do tensors[each.name] = each.tensor end
  safetensors.save_file(tensors, path)
end

local function config_of(model, words)
  local config = model:hugging_face_config()
  config.bos_token_id, config.eos_token_id = words.eos, words.eos
  return config
end

--- Whether a folder holds a model that icot has saved: the weights are what comes last.
---@param folder string
---@return boolean
function model_file.is_in(folder)
  return files.kind(folder .. '/' .. WEIGHTS) == 'file'
end

--- Removes the model that a folder holds, so that it isn't taken for that of the run that begins now.
---@param folder string need not be there
function model_file.remove(folder)
  for _, name in ipairs(model_file.NAMES) do os.remove(folder .. '/' .. name) end
end

-- A tokenizer brings files of its own, which Hugging Face knows.
local function save_vocabulary(folder, words)
  if words.tokenizer == 'bpe' then return words:save(folder) end
  core.write_file(folder .. '/vocabulary.json', json.encode(words:to_table()) .. '\n')
end

--- Saves a model. Each file is replaced as a whole; the weights come last, so they never lack their description.
---@param folder string is made if it isn't there
---@param model icot.Model
---@param words icot.Vocabulary|icot.Tokenizer
---raises an error when a file cannot be written
function model_file.save(folder, model, words)
  save_vocabulary(folder, words)
  core.write_file(folder .. '/config.json', json.encode(config_of(model, words)) .. '\n')
  if model.other_tensors then safetensors.save_file(model:other_tensors(), folder .. '/' .. model_file.OTHERS) end
  scope.run(function() write_tensors(folder .. '/' .. WEIGHTS, model) end)
end

--- Whether a model was trained to think between question and answer (icot.model.coconut), of which a GPT-2 knows
--- nothing.
---@param folder string
---@return boolean
function model_file.has_thoughts(folder)
  local config = json.decode(files.read(folder .. '/config.json', LONGEST_CONFIG))
  return type(config) == 'table' and type(config.icot) == 'table' and config.icot.has_thoughts == true
end

--- Reads what a model had beside the GPT-2 that answers.
---@param folder string
---@param tensors table<string, icot.Tensor> to be read into; what `other_tensors` gave when the model was saved
---raises an error when the file has others than these, or they have other shapes
function model_file.read_others(folder, tensors)
  safetensors.load_into(folder .. '/' .. model_file.OTHERS, tensors, 'the model')
end

--- The vocabulary that a model was saved with.
---@param folder string
---@return icot.Vocabulary? vocabulary nil: the folder has none of ours
---raises an error when vocabulary.json is broken
function model_file.vocabulary(folder)
  local path = folder .. '/vocabulary.json'
  if not files.kind(path) then return nil end
  local saved = json.read_file(path, LONGEST_VOCABULARY)
  local ok, result = pcall(vocabulary.from_table, saved)
  if not ok then errors.raise('%s: %s', path, errors.describe(result)) end
  result.source = path
  return result
end

--- Whether a folder says how texts become ids.
---@param folder string
---@return boolean
function model_file.has_words(folder)
  return files.kind(folder .. '/vocabulary.json') ~= nil or tokenizer.is_at(folder)
end

--- How texts become ids for the model of a folder, whether icot or Hugging Face has saved it.
---@param folder string
---@return icot.Vocabulary|icot.Tokenizer words of ours without the symbol for pauses, which is none of the examples'
---raises an error when the folder has neither, or one that is broken
function model_file.words(folder)
  local saved = model_file.vocabulary(folder)
  return saved and saved:without_pause() or tokenizer.load(folder)
end

return model_file
