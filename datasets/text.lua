--- Examples from text files of one's own, one `question||cot #### answer` per line.
---
--- By default a symbol is a word between single spaces: right for files that are written as symbols, such as
--- `1 2 * 3 4||…`. Prose wants tokenizer = 'character', or the folder of a pretrained model.
local text_files = require 'icot.text_files'

local text = { options = text_files.options }

--- Reads the files.
---@param options table values of `text.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error for a missing, empty or malformed file, with the line's number
function text.load(options, wanted)
  return text_files.load('text', options, wanted)
end

return text
