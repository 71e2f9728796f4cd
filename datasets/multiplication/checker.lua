--- Recomputes a multiplication from its text, to find damaged or wrong examples.
---
--- Deliberately another way than the writer takes, so that one mistake can't hide in both: every
--- number of the CoT is computed straight from the operands (all products of two digits that belong
--- to a place are summed first, carries come last) and the expected words are compared one by one.
local difference = require 'datasets.arithmetic.difference'
local schoolbook = require 'datasets.multiplication.schoolbook'

local checker = {}

local LEAST_DIGITS, MOST_DIGITS = 2, schoolbook.MOST_DIGITS

-- ---- Reading ------------------------------------------------------------------------------------

local function digits_from(words, first, last)
  local digits = {}
  for i = first, last do
    if not words[i]:find('^%d$') then
      return nil, ("question: word %d is '%s', expected a digit"):format(i, words[i])
    end
    digits[#digits + 1] = tonumber(words[i])
  end
  return digits
end

local function place_of(words, wanted)
  for i, word in ipairs(words) do
    if word == wanted then return i end
  end
end

-- The two operands, least digit first, or nil and what is wrong with the question.
local function operands_of(question)
  local words = difference.words_of(question)
  local times = place_of(words, '*')
  if not times then return nil, "question: there is no '*'" end
  local a, problem = digits_from(words, 1, times - 1)
  if not a then return nil, problem end
  local b, other_problem = digits_from(words, times + 1, #words)
  if not b then return nil, other_problem end

  if math.min(#a, #b) < LEAST_DIGITS or math.max(#a, #b) > MOST_DIGITS then
    return nil, ('question: the operands have %d and %d digits, expected %d to %d'):format(#a, #b, LEAST_DIGITS,
      MOST_DIGITS)
  end
  if a[#a] == 0 or b[#b] == 0 then return nil, 'question: the last digit of an operand, its highest, is 0' end
  return a, b
end

-- ---- Computing ----------------------------------------------------------------------------------

-- Digits first … last of b times a, in `length` digits, least first.
local function product(a, b, first, last, length)
  local columns = {}
  for place = 1, length do columns[place] = 0 end
  for j = first, last do
    for i = 1, #a do columns[i + j - 1] = columns[i + j - 1] + a[i] * b[j] end
  end
  local carry = 0
  for place = 1, length do
    local sum = columns[place] + carry
    columns[place] = sum % 10
    carry = (sum - sum % 10) / 10
  end
  assert(carry == 0)
  return columns
end

local function append(list, items)
  for _, item in ipairs(items) do list[#list + 1] = tostring(item) end
end

-- The words that the CoT should have.
local function expected_cot(a, b)
  local n, m, words = #a, #b, {}
  for i = 1, m do
    if i > 1 then append(words, { '+' }) end
    append(words, product(a, b, i, i, n + i))
    if i > 1 and i < m then
      append(words, { '(' })
      append(words, product(a, b, 1, i, n + i))
      append(words, { ')' })
    end
  end
  return words
end

--- Recomputes an example.
---@param question string `a * b`
---@param cot string
---@param answer string
---@return string? problem nil when the example is right
function checker.check(question, cot, answer)
  local a, b = operands_of(question)
  if not a then return b end
  local expected_answer = {}
  append(expected_answer, product(a, b, 1, #b, #a + #b))
  return difference.of(cot, expected_cot(a, b), answer, expected_answer)
end

return checker
