--- The sequence of an example: `question <eos> cot <eos> #### answer <eos>`. core/text/batch.c puts it together.
local sequence = {}

local SEPARATORS = 4 -- three <eos>, and ####

--- Tokens of a sequence.
---@param question integer tokens of its parts
---@param cot integer
---@param answer integer
---@return integer
function sequence.length(question, cot, answer)
  return question + cot + answer + SEPARATORS
end

--- Tokens of it that follow the first <eos>: what a model writes.
---@param cot integer tokens of its parts
---@param answer integer
---@return integer
function sequence.length_written(cot, answer)
  return cot + answer + SEPARATORS - 1
end

return sequence
