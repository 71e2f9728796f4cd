--- Sparse multiplications: training examples with many zeros among their digits.
---
--- A digit of a product is the sum, modulo ten, of several products of digits. Without CoT none of them can be learned
--- before all of them are: one that is missing leaves the sum as good as random. Where most are zero the others show
--- one by one, so that a model which answers at once learns the sparse products first, and the rest from there.
local errors = require 'icot.base.errors'
local pairs_of = require 'datasets.multiplication.pairs'
local schoolbook = require 'datasets.multiplication.schoolbook'

local floor = math.floor

local sparse = {}

local MOST_ATTEMPTS = 1000 -- per pair: if that many are held out, then all are
local LOW_DIGITS = schoolbook.LOW_DIGITS

-- Sets each digit of a number to zero whose uniform number is below `zeros`, but not that at place `keep`.
local function clear_digits(number, places, keep, zeros, uniform, at)
  for place = 0, places - 1 do
    if place ~= keep and uniform[at + place] < zeros then
      local unit = 10 ^ place
      number = number - floor(number / unit) % 10 * unit
    end
  end
  return number
end

-- An operand of `digits` digits from digits + 2 uniform numbers; its highest digit is not zero.
local function operand(digits, zeros, uniform, at)
  local high, low = pairs_of.operand(digits, uniform[at], uniform[at + 1])
  local low_places = math.min(digits, LOW_DIGITS)
  low = clear_digits(low, low_places, digits - 1, zeros, uniform, at + 2)
  high = clear_digits(high, digits - low_places, digits - 1 - LOW_DIGITS, zeros, uniform, at + 2 + low_places)
  return high, low
end

--- Draws pairs of operands, some of them more than once; none that is held out.
---@param shape icot.multiplication.Shape
---@param seed integer
---@param zeros number probability of each digit but the highest of being zero, beside those that are by chance
---@param count integer
---@param drawn icot.multiplication.Pairs for what is held out
---@param accept fun(a_high: number, a_low: number, b_high: number, b_low: number) is given each pair
---raises an error when all such pairs are held out
function sparse.draw(shape, seed, zeros, count, drawn, accept)
  local for_a, for_b = shape.a.to + 2, shape.b.to + 2 -- uniform numbers for each operand; two more for mixed lengths
  local uniforms = pairs_of.uniforms(seed, 'sparse', for_a + for_b + (shape.is_mixed and 2 or 0))
  local accepted, attempt, n, m = 0, 0, shape.a.to, shape.b.to
  while accepted < count do
    if attempt > MOST_ATTEMPTS * (accepted + 1) then
      errors.raise('multiplication: all pairs with zeros=%g are held out; lower test, valid or zeros', zeros)
    end
    local uniform = uniforms(attempt)
    attempt = attempt + 1
    if shape.is_mixed then n, m = shape:lengths(uniform[for_a + for_b], uniform[for_a + for_b + 1]) end
    local a_high, a_low = operand(n, zeros, uniform, 0)
    local b_high, b_low = operand(m, zeros, uniform, for_a)
    if not drawn:is_held_out(a_high, a_low, b_high, b_low) then
      accept(a_high, a_low, b_high, b_low)
      accepted = accepted + 1
    end
  end
end

return sparse
