--- Recomputes a parity from its text, another way than the dataset does: each token of the CoT is counted straight from
--- the bits that it stands for.
local difference = require 'datasets.arithmetic.difference'

local checker = {}

-- Parity of the ones among counted[first … last]; bits behind the end are none.
local function parity_of(counted, first, last)
  local ones = 0
  for i = first, math.min(last, #counted) do ones = ones + (counted[i] == '1' and 1 or 0) end
  return tostring(ones % 2)
end

local function expected_cot(counted, order)
  local words, k = {}, #counted
  if order == 'chain' then
    for last = 2, k do words[#words + 1] = parity_of(counted, 1, last) end
    return words
  end
  local span = 1 -- bits that a token of this level stands for
  while span < k do
    span = 2 * span
    for first = 1, k, span do words[#words + 1] = parity_of(counted, first, first + span - 1) end
  end
  return words
end

-- The bits of a question, or nil and what is wrong with it.
local function bits_of(question, n)
  local bits = difference.words_of(question)
  for i, bit in ipairs(bits) do
    if bit ~= '0' and bit ~= '1' then return nil, ("question: word %d is '%s', expected 0 or 1"):format(i, bit) end
  end
  if #bits ~= n then return nil, ('question: has %d bits, expected %d'):format(#bits, n) end
  return bits
end

--- What is wrong with an example.
---@param question string
---@param cot string
---@param answer string
---@param n integer bits of a question
---@param places integer[] those that count
---@param order 'chain'|'tree'
---@return string? problem nil: nothing
function checker.check(question, cot, answer, n, places, order)
  local bits, problem = bits_of(question, n)
  if not bits then return problem end
  local counted = {}
  for i, place in ipairs(places) do counted[i] = bits[place] end
  return difference.of(cot, expected_cot(counted, order), answer, { parity_of(counted, 1, #counted) })
end

return checker
