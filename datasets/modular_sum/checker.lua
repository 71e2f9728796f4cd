--- Recomputes a modular sum from its text, another way than the dataset does: every sum is taken over all numbers up to
--- there, and reduced once, at its end.
local difference = require 'datasets.arithmetic.difference'

local checker = {}

-- Digits of a number, least first.
local function digits_of(number, count)
  local words = {}
  for digit in ('%%0%dd'):format(count):format(number):reverse():gmatch('.') do words[#words + 1] = digit end
  return words
end

-- The numbers of a question, or nil and what is wrong with it.
local function numbers_of(question, format)
  local numbers = {}
  for text in (question .. ' + '):gmatch('(.-) %+ ') do
    local i = #numbers + 1
    if not text:find('^%d' .. (' %d'):rep(format.number_digits - 1) .. '$') then
      return nil, ("question: number %d is '%s', expected %d digits"):format(i, text, format.number_digits)
    end
    numbers[i] = tonumber((text:gsub(' ', ''):reverse()))
    if numbers[i] >= format.numbers then
      return nil, ('question: number %d is %d, expected less than %d'):format(i, numbers[i], format.numbers)
    end
  end
  if #numbers ~= format.count then
    return nil, ('question: has %d numbers, expected %d'):format(#numbers, format.count)
  end
  return numbers
end

--- What is wrong with an example.
---@param question string
---@param cot string
---@param answer string
---@param format { count: integer, modulus: integer, numbers: number, number_digits: integer, sum_digits: integer }
---@return string? problem nil: nothing
function checker.check(question, cot, answer, format)
  local numbers, problem = numbers_of(question, format)
  if not numbers then return problem end
  local sums, words, total = {}, {}, numbers[1]
  for i = 2, #numbers do
    total = total + numbers[i]
    sums[i - 1] = digits_of(total % format.modulus, format.sum_digits)
    if i > 2 then words[#words + 1] = ',' end
    for _, digit in ipairs(sums[i - 1]) do words[#words + 1] = digit end
  end
  return difference.of(cot, words, answer, sums[#sums])
end

return checker
