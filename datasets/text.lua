--- Examples from text files of one's own, one `question||cot #### answer` per line.
---
--- By default a symbol is a word between single spaces: right for files that are written as symbols, such as
--- `1 2 * 3 4||…`. Prose wants tokenizer = 'character', or the folder of a pretrained model.
---
--- With `step_end` a reasoning step of the CoT ends with each token so called, and at the CoT's end:
--- `step_end = '+'` makes of `6 7 0 + 0 7 5 0` the steps `6 7 0 +` and `0 7 5 0`.
local steps = require 'icot.data.steps'
local text_files = require 'icot.data.text_files'

local text = { options = { step_end = { type = 'string', doc = 'token that ends each reasoning step of the CoT' } } }

for name, option in pairs(text_files.options) do text.options[name] = option end

--- Reads the files.
---@param options table values of `text.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error for a missing, empty or malformed file, with the line's number
function text.load(options, wanted)
  local function step_finder(symbols) return steps.ended_by(options.step_end, symbols, 'text: step_end') end
  return text_files.load('text', options, wanted, nil, options.step_end and step_finder)
end

return text
