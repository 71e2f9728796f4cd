--- Sums of several numbers, modulo p.
---
---   2 4 + 9 8 + 5 0||4 3 , 9 3 #### 9 3              42 + 89 + 5 modulo 97, digits reversed
---
--- The numbers are those below the modulus, or all of up to `digits` digits, and are written with as many digits each.
--- The CoT has the sum so far, modulo p, after the second number, the third, and so on; the last is the answer. A
--- reasoning step is such a sum with the comma after it. The splits share no question, where a + b and b + a are two
--- (icot.data.made_up tells how they are drawn). An evaluation tells examples apart by the longest carry chain of the
--- sums.
local carries = require 'datasets.arithmetic.carries'
local made_up = require 'icot.data.made_up'
local quantities = require 'datasets.arithmetic.quantities'
local steps = require 'icot.data.steps'
local vocabulary = require 'icot.text.vocabulary'
local checker = require 'datasets.modular_sum.checker'

local modular_sum = { options = made_up.options(50000) }

modular_sum.options.count = { type = 'integer', min = 2, max = 100, default = 4,
  doc = 'number of numbers that are added' }
modular_sum.options.modulus = { type = 'integer', min = 2, max = 10 ^ 9, default = 97, doc = 'modulus of the sums' }
modular_sum.options.digits = { type = 'integer', min = 1, max = 9,
  doc = 'digits of each number; default: numbers below the modulus' }

local SYMBOLS = { '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', ',' }

-- How the numbers of these options are written: how many there are of each, and with how many digits.
local function format_of(options)
  local sum_digits = #('%d'):format(options.modulus - 1)
  return {
    count = options.count, modulus = options.modulus, sum_digits = sum_digits,
    numbers = options.digits and 10 ^ options.digits or options.modulus, number_digits = options.digits or sum_digits,
  }
end

-- The digits of a number, least first.
local function digits_of(number, digits)
  local array = {}
  for place = 1, digits do
    array[place] = number % 10
    number = (number - number % 10) / 10
  end
  return array
end

-- Appends them to symbols.
local function put(symbols, number, digits)
  for _, digit in ipairs(digits_of(number, digits)) do symbols[#symbols + 1] = tostring(digit) end
end

-- The numbers of a question.
local function numbers_of(question, format)
  local numbers = {}
  for i = 1, format.count do
    local number, first = 0, (i - 1) * (format.number_digits + 1)
    for place = format.number_digits, 1, -1 do number = 10 * number + tonumber(question[first + place]) end
    numbers[i] = number
  end
  return numbers
end

local function question_from(uniform, at, format)
  local question = {}
  for i = 1, format.count do
    if i > 1 then question[#question + 1] = '+' end
    put(question, math.floor(uniform[at + i - 1] * format.numbers), format.number_digits)
  end
  return question
end

local function solve(question, format)
  local numbers, cot, answer, ends = numbers_of(question, format), {}, {}, {}
  local sum = numbers[1]
  for i = 2, format.count do
    sum = (sum + numbers[i]) % format.modulus
    put(cot, sum, format.sum_digits)
    if i < format.count then cot[#cot + 1] = ',' end
    ends[i - 1] = #cot
  end
  put(answer, sum, format.sum_digits)
  return cot, answer, ends
end

-- The longest carry chain when the numbers of a question are added one by one, each sum modulo p.
local function carry_chain(question, format)
  local symbols, longest = {}, 0
  for symbol in question:gmatch('%S+') do symbols[#symbols + 1] = symbol end
  local numbers, places = numbers_of(symbols, format), math.max(format.number_digits, format.sum_digits)
  local sum = numbers[1]
  for i = 2, #numbers do
    local chain = carries.longest(digits_of(sum, places), digits_of(numbers[i], places), 1, places)
    longest, sum = math.max(longest, chain), (sum + numbers[i]) % format.modulus
  end
  return longest
end

--- Makes up the examples.
---@param options table values of `modular_sum.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error when there are fewer questions than asked for
function modular_sum.load(options, wanted)
  local format, symbols = format_of(options), vocabulary.new('word', SYMBOLS)
  return made_up.load({
    task = 'modular_sum', vocabulary = symbols, options = options,
    limits = ('count=%d numbers below %.0f'):format(format.count, format.numbers),
    questions = format.numbers ^ format.count, numbers = format.count,
    question = function(uniform, at) return question_from(uniform, at, format) end,
    solve = function(question) return solve(question, format) end,
    steps_of = steps.ended_by(',', symbols, 'modular_sum'),
    groups = function(question) return carry_chain(question, format) end, grouped_by = 'longest carry chain',
  }, wanted)
end

--- Recomputes an example.
---@param question string
---@param cot string
---@param answer string
---@param options table values of `modular_sum.options`
---@return string? problem nil when the example is right
function modular_sum.check(question, cot, answer, options)
  return checker.check(question, cot, answer, format_of(options))
end

--- The digits of the sum of the first 2 numbers, the first 3, and so on, modulo p; the last is the answer.
---@param _ string question
---@param cot string
---@return icot.Quantity[]
function modular_sum.quantities(_, cot)
  local found, numbers = {}, 1
  for sum in cot:gmatch('[^,]+') do
    numbers = numbers + 1
    quantities.add_digits(found, ('running sum %d'):format(numbers), sum)
  end
  return found
end

return modular_sum
