--- k-parity: of n bits, k count; the answer says whether the number of ones among these is odd.
---
---   1 0 1 1 0 1 0 0||1 0 1 1 0 0 0 #### 0            bits = 8, all of them count, order = 'chain'
---   1 0 1 1 0 1 0 0||1 0 1 0 1 1 0 #### 0            the same with order = 'tree'
---
--- The CoT has two orders. A `chain` has the parity of the first two of the bits that count, of the first three, and so
--- on: k - 1 tokens, each a reasoning step. A `tree` pairs these bits and writes the parity of each pair, then pairs
--- those, and so on up to a single one; what is left over at the end of a level is written again in the next. Each
--- level is a reasoning step. If k is a power of two, the levels have k/2, k/4, … 1 tokens, k - 1 in all, so that the
--- schedule `geometric`, which halves what is left (7, 3, 1, 0 of 8 bits), removes one level at a time from the left.
--- In both orders the last token is the answer.
---
--- Which bits count is secret by default: k of them chosen at random, by the seed, for all examples. The splits share
--- no question (icot.data.made_up tells how they are drawn).
local errors = require 'icot.base.errors'
local made_up = require 'icot.data.made_up'
local random = require 'icot.engine.random'
local steps = require 'icot.data.steps'
local vocabulary = require 'icot.text.vocabulary'
local checker = require 'datasets.parity.checker'

local parity = { options = made_up.options(50000) }

parity.options.bits = { type = 'integer', min = 2, max = 1000, default = 16, doc = 'number of bits in a question' }
parity.options.parity = { type = 'integer', min = 2, max = 1000,
  doc = 'number of bits whose parity is asked for; default: all' }
parity.options.subset = { type = 'string', one_of = { 'secret', 'first' }, default = 'secret',
  doc = 'which of the bits these are: a secret choice, or the first ones' }
parity.options.order = { type = 'string', one_of = { 'chain', 'tree' }, default = 'chain',
  doc = 'order of the CoT: bit by bit, or pairwise, level by level' }

local SUBSET = 5 -- part of the random numbers that choose it; icot.data.made_up has those of the splits

--- The bits that count.
---@param options table values of `parity.options`
---@return integer[] places 1 … bits, ascending
---raises an error when more bits count than there are
function parity.subset(options)
  local n, k = options.bits, options.parity or options.bits
  if k > n then errors.raise('parity: parity=%d is more than bits=%d', k, n) end
  local order, places = random.permutation(random.key(options.seed, 'data', SUBSET * 2 ^ 32), n), {}
  for i = 1, k do places[i] = options.subset == 'first' and i or order[i - 1] + 1 end
  table.sort(places)
  return places
end

-- ---- The CoT ------------------------------------------------------------------------------------

local function xor(a, b)
  return a == b and '0' or '1'
end

-- The parity of the first two bits, the first three, …
local function chain(bits)
  local cot, ends, running = {}, {}, bits[1]
  for i = 2, #bits do
    running = xor(running, bits[i])
    cot[i - 1], ends[i - 1] = running, i - 1
  end
  return cot, ends
end

-- The parities of pairs of a level, and what is left over.
local function level_above(level)
  local above = {}
  for i = 1, #level, 2 do above[#above + 1] = level[i + 1] and xor(level[i], level[i + 1]) or level[i] end
  return above
end

local function tree(bits)
  local cot, ends, level = {}, {}, bits
  while #level > 1 do
    level = level_above(level)
    for _, bit in ipairs(level) do cot[#cot + 1] = bit end
    ends[#ends + 1] = #cot
  end
  return cot, ends
end

local orders = { chain = chain, tree = tree }

-- Where the steps of every CoT end, which depends on the number of bits that count alone.
local function ends_of(options, places)
  local zeros = {}
  for i = 1, #places do zeros[i] = '0' end
  local _, ends = orders[options.order](zeros)
  return ends
end

-- ---- The examples -------------------------------------------------------------------------------

--- Makes up the examples.
---@param options table values of `parity.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error when there are fewer questions than asked for
function parity.load(options, wanted)
  local places = parity.subset(options)
  return made_up.load({
    task = 'parity', vocabulary = vocabulary.new('word', { '0', '1' }), options = options,
    limits = ('bits=%d'):format(options.bits), questions = 2 ^ options.bits, numbers = options.bits,
    question = function(uniform, at)
      local bits = {}
      for i = 1, options.bits do bits[i] = uniform[at + i - 1] < 0.5 and '0' or '1' end
      return bits
    end,
    solve = function(question)
      local counted = {}
      for i, place in ipairs(places) do counted[i] = question[place] end
      local cot, ends = orders[options.order](counted)
      return cot, { cot[#cot] }, ends
    end,
    steps_of = steps.always(ends_of(options, places)),
  }, wanted)
end

--- Recomputes an example.
---@param question string
---@param cot string
---@param answer string
---@param options table values of `parity.options`
---@return string? problem nil when the example is right
function parity.check(question, cot, answer, options)
  return checker.check(question, cot, answer, options.bits, parity.subset(options), options.order)
end

local function chain_name(place)
  return ('running parity, bit %d'):format(place + 1)
end

-- The names of the k - 1 tokens of a tree, level by level.
local function tree_names(k)
  local names, level, size = {}, 0, k
  while size > 1 do
    level, size = level + 1, math.ceil(size / 2)
    for i = 1, size do names[#names + 1] = ('level %d, parity %d'):format(level, i) end
  end
  return names
end

--- All parities of the CoT: in a chain of the bits that count, up to the second, the third, …; in a tree by level.
---@param _ string question
---@param cot string
---@param _ string answer
---@param options table values of `parity.options`
---@return icot.Quantity[]
function parity.quantities(_, cot, _, options)
  local found, names = {}, options.order == 'tree' and tree_names(options.parity or options.bits)
  for value in cot:gmatch('%d') do
    local place = #found + 1
    found[place] = { name = names and names[place] or chain_name(place), value = value }
  end
  return found
end

return parity
