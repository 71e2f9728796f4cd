--- Pairs of operands for the multiplication task: drawn at random, none twice, none in two splits.
---
--- A pair is four numbers, since 20 digits don't fit in one: of each operand the lower ten digits and
--- those above. The pairs lie in C arrays with an open-addressing hash table over them; memory stays
--- at 40 bytes a pair, and a million of them take well under a second.
local bit = require 'bit'
local ffi = require 'ffi'
local errors = require 'icot.base.errors'
local made_up = require 'icot.data.made_up'
local schoolbook = require 'datasets.multiplication.schoolbook'

local bxor, lshift, rshift, tobit = bit.bxor, bit.lshift, bit.rshift, bit.tobit
local floor, min = math.floor, math.min

local pairs_of = {}

local LOW_DIGITS = schoolbook.LOW_DIGITS
local BLOCK = 4096            -- pairs drawn per call into the core
local FIELDS = 4              -- of a pair: high and low of a, high and low of b
local MOST_ATTEMPTS = 100000  -- for one pair with a long carry chain

local counters = ffi.typeof('double[?]')
local slots_of = ffi.typeof('int32_t[?]')

---@class icot.multiplication.Pairs
---@field ranges table<string, { first: integer, last: integer }> pairs first … last-1 of a split
---@field count integer
---@field held_out integer pairs of test, valid and carries, which are the first
---@field mirrored icot.multiplication.Pairs the same with their operands swapped
local Pairs = {}
Pairs.__index = Pairs

-- ---- The set of pairs ---------------------------------------------------------------------------

local function new_set(capacity)
  local slot_count = 64
  while slot_count < 2 * capacity do slot_count = 2 * slot_count end
  return setmetatable({
    count = 0,
    fields = counters(FIELDS * capacity),
    slots = slots_of(slot_count), -- number of a pair + 1; 0: free
    mask = slot_count - 1,
    ranges = {},
  }, Pairs)
end

-- Bob Jenkins' one-at-a-time hash over 32-bit words.
local function mix(hash, word)
  hash = tobit(hash + tobit(word))
  hash = tobit(hash + lshift(hash, 10))
  return bxor(hash, rshift(hash, 6))
end

local function hash_of(a_high, a_low, b_high, b_low)
  local hash = mix(mix(mix(mix(0, a_high), a_low), b_high), b_low)
  hash = tobit(hash + lshift(hash, 3))
  hash = bxor(hash, rshift(hash, 11))
  return tobit(hash + lshift(hash, 15))
end

-- The slot of a pair: where it is, or the free one where it would go.
function Pairs:slot(a_high, a_low, b_high, b_low)
  local fields, slots, mask = self.fields, self.slots, self.mask
  local slot = bit.band(hash_of(a_high, a_low, b_high, b_low), mask)
  while slots[slot] ~= 0 do
    local at = FIELDS * (slots[slot] - 1)
    if fields[at + 1] == a_low and fields[at + 3] == b_low and fields[at] == a_high and fields[at + 2] == b_high then
      break
    end
    slot = bit.band(slot + 1, mask)
  end
  return slot
end

-- Adds a pair and returns true, or returns false when it is there already.
function Pairs:add(a_high, a_low, b_high, b_low)
  local slot = self:slot(a_high, a_low, b_high, b_low)
  if self.slots[slot] ~= 0 then return false end
  local fields, at = self.fields, FIELDS * self.count
  fields[at], fields[at + 1], fields[at + 2], fields[at + 3] = a_high, a_low, b_high, b_low
  self.count = self.count + 1
  self.slots[slot] = self.count
  return true
end

function Pairs:has(a_high, a_low, b_high, b_low)
  return self.slots[self:slot(a_high, a_low, b_high, b_low)] ~= 0
end

--- Whether a pair, in either order, is one that must not be trained on.
function Pairs:is_held_out(a_high, a_low, b_high, b_low)
  local number = self.slots[self:slot(a_high, a_low, b_high, b_low)]
  return number > 0 and number <= self.held_out or self.mirrored:has(a_high, a_low, b_high, b_low)
end

--- The operands of a pair, as high * 10^10 + low.
---@param index integer 0-based
---@return number a_high, number a_low, number b_high, number b_low
function Pairs:operands(index)
  local fields, at = self.fields, FIELDS * index
  return fields[at], fields[at + 1], fields[at + 2], fields[at + 3]
end

-- ---- Drawing ------------------------------------------------------------------------------------

-- Number of the split in the key of its random numbers. These never change: they are part of what a
-- seed means.
local split_numbers = { test = 1, valid = 2, train = 3, sparse = 4, carries = 6, longer = 7 }

--- Uniform numbers in [0, 1) for the operands of a split; no other split has the same.
---@param seed integer
---@param split 'test'|'valid'|'train'|'sparse'|'carries'|'longer'
---@param count integer how many at a time
---@return fun(block: integer): ffi.cdata* numbers double[count], overwritten by the next call; block: 0, 1, …
function pairs_of.uniforms(seed, split, count)
  return made_up.uniforms(seed, split_numbers[split], count)
end

--- An operand of exactly `digits` digits from two uniform numbers in [0, 1).
---@return number high, number low the operand is high * 10^10 + low
function pairs_of.operand(digits, u, v)
  local top = digits - LOW_DIGITS
  if top <= 0 then
    local least = 10 ^ (digits - 1)
    return 0, least + floor(u * 9 * least)
  end
  local least = 10 ^ (top - 1)
  return least + floor(u * 9 * least), floor(v * 10 ^ LOW_DIGITS)
end
local operand = pairs_of.operand

-- Draws pairs of a shape and offers them to `accept` until it has taken `count` of them. Where lengths are mixed, two
-- more numbers choose them. `give_up` is called when too many in a row were refused.
local function draw_split(shape, seed, split, count, accept, give_up)
  local numbers = FIELDS + (shape.is_mixed and 2 or 0)
  local uniforms = pairs_of.uniforms(seed, split, numbers * BLOCK)
  local accepted, block, n, m, refused = 0, 0, shape.a.to, shape.b.to, 0
  while accepted < count do
    local uniform = uniforms(block)
    block = block + 1
    for at = 0, numbers * (BLOCK - 1), numbers do
      if shape.is_mixed then n, m = shape:lengths(uniform[at + 4], uniform[at + 5]) end
      local a_high, a_low = operand(n, uniform[at], uniform[at + 1])
      local b_high, b_low = operand(m, uniform[at + 2], uniform[at + 3])
      if accepted < count and accept(a_high, a_low, b_high, b_low) then
        accepted, refused = accepted + 1, 0
      else
        refused = refused + 1
      end
    end
    if give_up and accepted < count and refused > MOST_ATTEMPTS then give_up() end
  end
end

-- ---- The splits ---------------------------------------------------------------------------------

local function check_held_out(shape, counts)
  local asked, there = counts.test + counts.valid, shape:unordered_pairs()
  if asked > there then
    errors.raise('multiplication: %s: test=%d and valid=%d are %.0f pairs, only %.0f exist'
      .. ' (held out, a*b and b*a count as one)', shape.text, counts.test, counts.valid, asked, there)
  end
end

local function check_train(shape, counts, taken)
  local left = shape:pairs() - taken
  if counts.train > left then
    errors.raise('multiplication: %s: train=%d, but only %.0f pairs are left beside test=%d and valid=%d'
      .. ' (a*b is not trained on when b*a is held out)', shape.text, counts.train, left, counts.test, counts.valid)
  end
end

-- Tells the longest carry chain of a pair.
local function chain_finder()
  local a, b = ffi.new('int32_t[?]', schoolbook.MOST_DIGITS), ffi.new('int32_t[?]', schoolbook.MOST_DIGITS)
  return function(a_high, a_low, b_high, b_low)
    local n, m = schoolbook.length(a_high, a_low), schoolbook.length(b_high, b_low)
    schoolbook.split(a_high, a_low, n, a)
    schoolbook.split(b_high, b_low, m, b)
    return schoolbook.longest_chain(a, n, b, m)
  end
end

--- Draws the pairs of the splits that have the lengths of the training examples.
---@param shape icot.multiplication.Shape
---@param seed integer
---@param counts table<'test'|'valid'|'carries'|'train', integer> pairs in each split
---@param chain? integer the carry chain that each pair of `carries` has at least
---@return icot.multiplication.Pairs
---raises an error when there are not that many
function pairs_of.draw(shape, seed, counts, chain)
  check_held_out(shape, counts)
  local held_out = counts.test + counts.valid + counts.carries
  local drawn = new_set(held_out + min(counts.train, shape:pairs()))
  drawn.held_out = held_out
  local mirrored = new_set(held_out) -- b, a for every a, b that is held out, if that could be drawn too
  drawn.mirrored = mirrored

  local function accept_train(a_high, a_low, b_high, b_low)
    return not mirrored:has(a_high, a_low, b_high, b_low) and drawn:add(a_high, a_low, b_high, b_low)
  end
  local function accept_held_out(a_high, a_low, b_high, b_low)
    if not accept_train(a_high, a_low, b_high, b_low) then return false end
    local is_square = a_low == b_low and a_high == b_high
    if not is_square and shape:has_pair(b_high, b_low, a_high, a_low) then
      mirrored:add(b_high, b_low, a_high, a_low)
    end
    return true
  end
  local chain_of = chain_finder()
  local function accept_carries(...)
    return chain_of(...) >= chain and accept_held_out(...)
  end
  local function give_up()
    errors.raise('multiplication: %s: ood.carries: %d examples with a carry chain of %d or more could not be found;'
      .. ' lower ood.carries.chain or ood.carries.examples', shape.text, counts.carries, chain)
  end
  local function fill(split, accept, on_failure)
    local first = drawn.count
    draw_split(shape, seed, split, counts[split], accept, on_failure)
    drawn.ranges[split] = { first = first, last = drawn.count }
  end

  fill('test', accept_held_out)
  fill('valid', accept_held_out)
  fill('carries', accept_carries, give_up)
  check_train(shape, counts, drawn.count + mirrored.count)
  fill('train', accept_train)
  return drawn
end

--- Draws pairs of another shape than that of the training examples, none twice, where a * b and b * a count as one.
---@param shape icot.multiplication.Shape
---@param seed integer
---@param count integer
---@return icot.multiplication.Pairs with the range `longer`
---raises an error when there are not that many
function pairs_of.draw_longer(shape, seed, count)
  local there = shape:unordered_pairs()
  if count > there then
    errors.raise('multiplication: ood.longer: %s: %d examples, but only %.0f pairs exist', shape.text, count, there)
  end
  local drawn = new_set(count)
  draw_split(shape, seed, 'longer', count, function(a_high, a_low, b_high, b_low)
    return not drawn:has(b_high, b_low, a_high, a_low) and drawn:add(a_high, a_low, b_high, b_low)
  end)
  drawn.ranges.longer = { first = 0, last = count }
  return drawn
end

return pairs_of
