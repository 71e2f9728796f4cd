--- Examples from text files of one's own, one `question||cot #### answer` per line.
---
--- By default a symbol is a word between single spaces: right for files that are written as symbols, such as
--- `1 2 * 3 4||…`. Prose wants tokenizer = 'character', or the folder of a pretrained model.
---
--- With `step_end` a reasoning step of the CoT ends with each token so called, and at the CoT's end:
--- `step_end = '+'` makes of `6 7 0 + 0 7 5 0` the steps `6 7 0 +` and `0 7 5 0`.
local errors = require 'icot.errors'
local ffi = require 'ffi'
local text_files = require 'icot.text_files'

local text = { options = { step_end = { type = 'string', doc = 'the token that ends a reasoning step of the CoT' } } }

for name, option in pairs(text_files.options) do text.options[name] = option end

-- The only token that a text is.
local function token_of(symbols, name)
  local ids = ffi.new('int32_t[?]', #name + 2)
  local ok, count = pcall(symbols.encode_part_into, symbols, name, ids)
  if not ok then errors.raise("text: step_end: '%s' is no token of the examples", name) end
  if count ~= 1 then errors.raise("text: step_end: '%s' is %d tokens, expected a single one", name, count) end
  return ids[0]
end

-- What tells where the steps of a CoT end: behind each token `step_end`, and at the end.
local function step_finder(step_end)
  return function(symbols)
    local last_token = token_of(symbols, step_end)
    return function(_, cot)
      local ends = {}
      for i = 1, cot.count do
        if cot.ids[i - 1] == last_token or i == cot.count then ends[#ends + 1] = i end
      end
      return ends
    end
  end
end

--- Reads the files.
---@param options table values of `text.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error for a missing, empty or malformed file, with the line's number
function text.load(options, wanted)
  return text_files.load('text', options, wanted, nil, options.step_end and step_finder(options.step_end))
end

return text
