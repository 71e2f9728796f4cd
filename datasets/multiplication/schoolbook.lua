--- Schoolbook multiplication on digit arrays, so that products of 20 x 20 digits are exact. Arrays are of int32 and
--- hold digits from index 0 on, least first.
local ffi = require 'ffi'
local carries = require 'datasets.arithmetic.carries'

local floor, max = math.floor, math.max

local schoolbook = {}

local array_of = ffi.typeof('int32_t[?]')

schoolbook.LOW_DIGITS = 10 -- an operand is high * 10^LOW_DIGITS + low, since 20 digits don't fit in one number
schoolbook.MOST_DIGITS = 20 -- of an operand
local LOW_DIGITS = schoolbook.LOW_DIGITS

-- Digit and carry of every sum that comes up: at most 9 * 9 + 8.
local LARGEST_SUM = 89
local ones, tens = array_of(LARGEST_SUM + 1), array_of(LARGEST_SUM + 1)
for sum = 0, LARGEST_SUM do
  ones[sum], tens[sum] = sum % 10, floor(sum / 10)
end

--- An array of digits.
---@param digits (integer|string)[] least first
---@return ffi.cdata* (#digits)
function schoolbook.array(digits)
  local array = array_of(#digits)
  for i, digit in ipairs(digits) do array[i - 1] = tonumber(digit) end
  return array
end

--- Digits of an operand.
---@param high number
---@param low number
---@return integer
function schoolbook.length(high, low)
  local length, rest = 0, low
  if high > 0 then length, rest = LOW_DIGITS, high end
  while rest >= 1 do
    length, rest = length + 1, floor(rest / 10)
  end
  return length
end

--- Splits an operand into its n digits.
---@param high number
---@param low number
---@param n integer
---@param digits ffi.cdata* (n)
function schoolbook.split(high, low, n, digits)
  local rest = low
  for i = 0, n - 1 do
    if i == LOW_DIGITS then rest = high end
    local tenth = floor(rest / 10)
    digits[i] = rest - 10 * tenth
    rest = tenth
  end
end

--- Multiplies by a single digit.
---@param a ffi.cdata* (n)
---@param n integer
---@param digit integer
---@param i integer places that the product is shifted by
---@param partial ffi.cdata* (n + 1 + i) the product
function schoolbook.multiply(a, n, digit, i, partial)
  local carry = 0
  for k = 0, i - 1 do partial[k] = 0 end
  for k = 0, n - 1 do
    local sum = a[k] * digit + carry
    partial[i + k], carry = ones[sum], tens[sum]
  end
  partial[i + n] = carry
end

--- Adds a partial product to a sum that so far has no digit at `length - 1`. Below place i it adds zeros.
---@param sum ffi.cdata* (length)
---@param partial ffi.cdata* (length)
---@param i integer
---@param length integer
function schoolbook.add(sum, partial, i, length)
  local carry = 0
  sum[length - 1] = 0
  for k = i, length - 1 do
    local digit = sum[k] + partial[k] + carry
    sum[k], carry = ones[digit], tens[digit]
  end
end

local partial, running = array_of(2 * schoolbook.MOST_DIGITS + 1), array_of(2 * schoolbook.MOST_DIGITS + 1)

--- The longest carry chain in the additions of partial products (datasets.arithmetic.carries).
---@param a ffi.cdata* (n)
---@param n integer
---@param b ffi.cdata* (m)
---@param m integer
---@return integer
function schoolbook.longest_chain(a, n, b, m)
  local longest = 0
  for k = 0, n do running[k] = 0 end
  for i = 0, m - 1 do
    local length = n + 1 + i
    schoolbook.multiply(a, n, b[i], i, partial)
    running[length - 1] = 0
    if i > 0 then longest = max(longest, carries.longest(running, partial, i, length - 1)) end
    schoolbook.add(running, partial, i, length)
  end
  return longest
end

return schoolbook
