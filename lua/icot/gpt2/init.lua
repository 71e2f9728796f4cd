--- GPT-2: new models (icot.gpt2.model), and those of a folder (icot.gpt2.pretrained).
local gpt2_model = require 'icot.gpt2.model'
local pretrained = require 'icot.gpt2.pretrained'

local gpt2 = { new = gpt2_model.new, is_model = gpt2_model.is_model, presets = gpt2_model.presets }

--- How many parameters a model of these sizes has: token and position embeddings; of each block two norms (4·width),
--- the four (width, width) matrices of attention and the two (width, 4·width) of the MLP with biases; a last norm.
---@param config icot.GPT2Config
---@return number
function gpt2.count_parameters(config)
  local width = config.width
  return (config.vocab_size + config.context) * width + config.layers * (12 * width ^ 2 + 13 * width) + 2 * width
end

--- A model from a folder that Hugging Face or icot has saved: config.json and model.safetensors, sharded or not.
--- Dropout is what is asked for here; what the folder's config.json says about it is not taken over.
---@param folder string
---@param options? icot.PretrainedOptions { context = …, dropout = … }
---@return icot.GPT2
---raises an error that names the file and what in it is missing, malformed, or nothing that we compute
function gpt2.from_pretrained(folder, options)
  return pretrained.load(folder, options)
end

return gpt2
