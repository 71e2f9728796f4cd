--- GPT-2: new models (icot.gpt2.model), and those of a folder (icot.gpt2.pretrained).
local gpt2_model = require 'icot.gpt2.model'
local pretrained = require 'icot.gpt2.pretrained'

local gpt2 = { new = gpt2_model.new, is_model = gpt2_model.is_model, presets = gpt2_model.presets }

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
