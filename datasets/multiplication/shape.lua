--- Shapes of a multiplication: how many digits its two operands have, each a range of lengths.
local errors = require 'icot.base.errors'
local schoolbook = require 'datasets.multiplication.schoolbook'

local max, min = math.max, math.min

local shape = {}

---@class icot.multiplication.Range lengths of an operand, in digits
---@field from integer
---@field to integer

---@class icot.multiplication.Shape
---@field a icot.multiplication.Range of the first operand
---@field b icot.multiplication.Range of the second
---@field is_mixed boolean whether one of them can have more than one length
---@field text string as the options have it, for messages: 'digits=4'
local Shape = {}
Shape.__index = Shape

-- The two lengths that an option gives, as one number or a list.
local function both(given, name)
  if type(given) ~= 'table' then return given, given end
  if #given ~= 2 then errors.raise('multiplication: %s: got %d lengths, expected one or two', name, #given) end
  return given[1], given[2]
end

local function show(given)
  return type(given) == 'table' and ('[%s]'):format(table.concat(given, ',')) or tostring(given)
end

--- The shape that options describe.
---@param digits integer|integer[] most digits of both operands, or of the first and the second
---@param digits_from? integer|integer[] least digits, the same; default: `digits`
---@return icot.multiplication.Shape
---raises an error for a list of another length, and where the least is more than the most
function shape.of(digits, digits_from)
  local a, b = both(digits, 'digits')
  local least_a, least_b = both(digits_from or digits, 'digits_from')
  if least_a > a or least_b > b then
    errors.raise('multiplication: digits_from=%s is more than digits=%s', show(digits_from), show(digits))
  end
  local text = 'digits=' .. show(digits) .. (digits_from and ', digits_from=' .. show(digits_from) or '')
  return setmetatable({
    a = { from = least_a, to = a }, b = { from = least_b, to = b }, is_mixed = least_a < a or least_b < b, text = text,
  }, Shape)
end

-- How many numbers have these lengths; their first digit is not zero. Of a range without lengths: none.
local function count(range)
  return range.from <= range.to and 10 ^ range.to - 10 ^ (range.from - 1) or 0
end

--- How many pairs of operands there are.
---@return number
function Shape:pairs()
  return count(self.a) * count(self.b)
end

--- How many there are when a * b and b * a count as one: of two numbers that can both be either operand, the
--- two orders are one pair.
---@return number
function Shape:unordered_pairs()
  local either = count { from = max(self.a.from, self.b.from), to = min(self.a.to, self.b.to) }
  return self:pairs() - either * (either - 1) / 2
end

local function holds(range, length)
  return length >= range.from and length <= range.to
end

--- Whether operands of these lengths, in this order, have this shape.
---@param n integer
---@param m integer
---@return boolean
function Shape:has(n, m)
  return holds(self.a, n) and holds(self.b, m)
end

--- Whether a pair has this shape.
---@return boolean
function Shape:has_pair(a_high, a_low, b_high, b_low)
  return self:has(schoolbook.length(a_high, a_low), schoolbook.length(b_high, b_low))
end

--- Whether a pair of the other shape can have this one too, in either order.
---@param other icot.multiplication.Shape
---@return boolean
function Shape:meets(other)
  local function share(one, two) return max(one.from, two.from) <= min(one.to, two.to) end
  return share(self.a, other.a) and share(self.b, other.b) or share(self.a, other.b) and share(self.b, other.a)
end

--- The lengths of a pair, each length of an operand equally probable.
---@param u number uniform in [0, 1)
---@param v number
---@return integer n, integer m
function Shape:lengths(u, v)
  local function pick(range, uniform) return range.from + math.floor(uniform * (range.to - range.from + 1)) end
  return pick(self.a, u), pick(self.b, v)
end

return shape
