--- Where the reasoning steps of a CoT end that comes from a file. A dataset that draws its examples marks them as it
--- goes (Corpus:mark_steps), and needs these, as its `steps_of`, for files of such examples alone (`icot eval --file`).
local errors = require 'icot.base.errors'
local ffi = require 'ffi'

local steps = {}

---@alias icot.StepsOf fun(cot: string, encoded: icot.EncodedCot): integer[]? tokens from the CoT's start to the end of
---   each step; nil: they are not known

---@class icot.EncodedCot
---@field ids ffi.cdata* int32, (count)
---@field count integer

-- The only token that a text is.
local function token_of(symbols, name, where)
  local ids = ffi.new('int32_t[?]', #name + 2)
  local ok, count = pcall(symbols.encode_part_into, symbols, name, ids)
  if not ok then errors.raise("%s: '%s' is no token of the examples", where, name) end
  if count ~= 1 then errors.raise("%s: '%s' is %d tokens, expected a single one", where, name, count) end
  return ids[0]
end

--- A step ends with each token that a text is, and at the end of the CoT.
---@param name string the text
---@param symbols icot.Vocabulary|icot.Tokenizer
---@param where string what asks for it, at the start of an error
---@return icot.StepsOf
---raises an error when the text is no token, or several
function steps.ended_by(name, symbols, where)
  local last_token = token_of(symbols, name, where)
  return function(_, encoded)
    local ends = {}
    for i = 1, encoded.count do
      if encoded.ids[i - 1] == last_token or i == encoded.count then ends[#ends + 1] = i end
    end
    return ends
  end
end

--- Each token is a step.
---@type icot.StepsOf
function steps.each_token(_, encoded)
  local ends = {}
  for i = 1, encoded.count do ends[i] = i end
  return ends
end

--- Steps of the same lengths in every example.
---@param ends integer[] tokens to the end of each
---@return icot.StepsOf gives nil for a CoT of another length
function steps.always(ends)
  return function(_, encoded) return encoded.count == (ends[#ends] or 0) and ends or nil end
end

return steps
