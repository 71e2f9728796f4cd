--- A folder that Hugging Face has saved: config.json and the weights, whole or sharded.
local gpt2 = require 'icot.gpt2'
local parts = require 'tests.fuzz.parts'

local NAMES = { 'config.json', 'model.safetensors', 'model.safetensors.index.json', 'a.safetensors', 'b.safetensors' }

return function(folder)
  return function(bytes)
    parts.put(folder, parts.split(bytes), NAMES)
    local model = gpt2.from_pretrained(folder, { context = #bytes % 3 + 1 })
    for _, each in ipairs(model:named_parameters()) do each.tensor:read() end
    model:free()
  end
end
