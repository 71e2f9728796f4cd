--- Writes out a multiplication as token ids.
local ffi = require 'ffi'
local errors = require 'icot.base.errors'
local schoolbook = require 'datasets.multiplication.schoolbook'

local writer = {}

local ids_of = ffi.typeof('int32_t[?]')

local NO_DIGITS = { '*', '+', '(', ')' }

---@class icot.multiplication.Writer
---@field question ffi.cdata* int32, (n_question) ids of `a * b`
---@field cot ffi.cdata* int32, (n_cot) ids of partial products and running sums
---@field answer ffi.cdata* int32, (n_answer) ids of the product
---@field n_question integer
---@field n_cot integer
---@field n_answer integer
---@field ends ffi.cdata* int32, (n_ends) where the steps of the CoT end, the same for all examples
---@field n_ends integer m: one per partial product
local Writer = {}
Writer.__index = Writer

-- Where the steps of the CoT of n x m digits end, in tokens from its start; the last is its length. A step is a
-- partial product, of n+1+i digits, with what follows it: a running sum of as many digits, in parentheses (but not
-- after the first and the last), and the `+`. So after a step the next partial product begins.
local function step_ends(n, m)
  local ends, at = ids_of(m), 0
  for i = 0, m - 1 do
    at = at + n + 1 + i
    if i > 0 and i < m - 1 then at = at + n + 1 + i + 2 end
    if i < m - 1 then at = at + 1 end
    ends[i] = at
  end
  return ends
end

-- The id of each symbol, and an array of those of the ten digits.
local function symbol_ids(vocabulary)
  local ids, digits, out = {}, ids_of(10), ids_of(8)
  local function id_of(symbol)
    local count = vocabulary:encode_part_into(symbol, out)
    if count ~= 1 then
      errors.raise("multiplication: '%s' is %d tokens of this vocabulary, expected a single one", symbol, count)
    end
    return out[0]
  end
  for digit = 0, 9 do digits[digit] = id_of(tostring(digit)) end
  for _, symbol in ipairs(NO_DIGITS) do ids[symbol] = id_of(symbol) end
  return ids, digits
end

--- A writer for operands of n and m digits. Its arrays are overwritten by each `write`.
---@param vocabulary icot.Vocabulary|icot.Tokenizer with the ten digits and * + ( )
---@param n integer digits of the first operand
---@param m integer digits of the second
---@return icot.multiplication.Writer
---raises an error when the vocabulary lacks one of them
function writer.new(vocabulary, n, m)
  local ends = step_ends(n, m)
  local n_question, n_cot, n_answer = n + 1 + m, ends[m - 1], n + m
  local ids, digit_ids = symbol_ids(vocabulary)
  return setmetatable({
    n = n, m = m,
    digit_ids = digit_ids, times = ids['*'], plus = ids['+'], open = ids['('], close = ids[')'],
    n_question = n_question, n_cot = n_cot, n_answer = n_answer,
    question = ids_of(n_question), cot = ids_of(n_cot), answer = ids_of(n_answer),
    ends = ends, n_ends = m,
    a = ids_of(n), b = ids_of(m),                         -- digits, least first
    partial = ids_of(n + m + 1), sum = ids_of(n + m + 1), -- of the current step
  }, Writer)
end

-- Ids of digits from place `at` of `out` on; gives the place after them.
local function put_digits(out, at, digits, length, ids)
  for k = 0, length - 1 do out[at + k] = ids[digits[k]] end
  return at + length
end

--- Writes question, CoT and answer of a multiplication.
---@param a_high number
---@param a_low number the first operand is a_high * 10^10 + a_low
---@param b_high number
---@param b_low number
function Writer:write(a_high, a_low, b_high, b_low)
  local n, m, ids, cot, partial, sum = self.n, self.m, self.digit_ids, self.cot, self.partial, self.sum
  schoolbook.split(a_high, a_low, n, self.a)
  schoolbook.split(b_high, b_low, m, self.b)
  local at = put_digits(self.question, 0, self.a, n, ids)
  self.question[at] = self.times
  put_digits(self.question, at + 1, self.b, m, ids)

  at = 0
  for k = 0, n do sum[k] = 0 end
  for i = 0, m - 1 do
    local length = n + 1 + i
    schoolbook.multiply(self.a, n, self.b[i], i, partial)
    schoolbook.add(sum, partial, i, length)
    if i > 0 then
      cot[at] = self.plus
      at = at + 1
    end
    at = put_digits(cot, at, partial, length, ids)
    if i > 0 and i < m - 1 then
      cot[at] = self.open
      at = put_digits(cot, at + 1, sum, length, ids)
      cot[at] = self.close
      at = at + 1
    end
  end
  put_digits(self.answer, 0, sum, n + m, ids)
end

return writer
