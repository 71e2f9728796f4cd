--- GSM8K, grade-school word problems (Cobbe et al. 2021), in the form that implicit chain-of-thought is trained on: the
--- CoT is the chain of calculations alone (Deng et al. 2023).
---
---   question||<<16-3-4=9>> <<9*2=18>> #### 18
---
--- Each calculation is a reasoning step. The space between two belongs to the second with GPT-2's tokenizer, which cuts
--- before it, and to the first where every character is a token. The steps of a CoT that has other words stay unmarked.
---
--- Answers are compared as numbers are written, with commas removed: 1,000 is 1000.
local equation = require 'datasets.gsm8k.equation'
local ffi = require 'ffi'
local text_files = require 'icot.data.text_files'

local gsm8k = { options = {}, check = equation.check }

for name, option in pairs(text_files.options) do gsm8k.options[name] = option end
gsm8k.options.tokenizer = { type = 'string', default = 'character',
  doc = "'character', or the folder of a model whose vocabulary is used; with model.pretrained that of its model" }
gsm8k.options.max_length = { type = 'integer', min = 1, default = 150,
  doc = 'training examples with more tokens, four separators included, are left out; valid and test keep theirs' }

local function without_commas(answer)
  return (answer:gsub(',', ''))
end

--- Whether two answers are the same number.
---@param prediction string
---@param target string
---@return boolean
function gsm8k.same_answer(prediction, target)
  return without_commas(prediction) == without_commas(target)
end

-- What tells where the calculations of a CoT end: each is encoded by itself, as it is in the whole.
local function step_finder(symbols)
  local ids, capacity = nil, 0
  local space = symbols.tokenizer == 'character' and 1 or 0
  return function(cot)
    if cot == '' then return {} end
    if #cot + 2 > capacity then capacity, ids = 2 * #cot + 2, ffi.new('int32_t[?]', 2 * #cot + 2) end
    local ends, at = {}, 0
    for word in (cot .. ' '):gmatch('([^ ]*) ') do
      if not word:find('^<<.*>>$') then return nil end
      at = at + symbols:encode_part_into(word, ids) + space
      ends[#ends + 1] = at
    end
    ends[#ends] = at - space -- there is none after the last
    return ends
  end
end

--- Reads the files.
---@param options table values of `gsm8k.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error for a missing, empty or malformed file, with the line's number
function gsm8k.load(options, wanted)
  local loaded = text_files.load('gsm8k', options, wanted, {
    train = { max_length = options.max_length, leave_out = true }, valid = {}, test = {},
  }, step_finder)
  loaded.same_answer = gsm8k.same_answer
  return loaded
end

return gsm8k
