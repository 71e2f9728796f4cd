--- How the CoT is cut: what a recipe's `removal` says, as the core takes it, and where decoding then has to place what
--- it writes.
local ffi = require 'ffi'
local core = require 'icot.engine.core'
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local random = require 'icot.engine.random'
local values = require 'icot.base.values'

local C = core.C
local removal = {}

---@class icot.Removal the options of a recipe's `removal`
---@field side 'left'|'right'|'both'|'random'|icot.RemovalOrder
---@field unit? 'token'|'step' what s and offsets count: tokens, or the reasoning steps that the dataset marks
---@field smoothing number|false|number[]|fun(offset: integer): number λ of the extra offset P(o) ∝ exp(-λ·o); or
---   weights of o = 0, 1, …; or a function of o that gives them
---@field replay? number share of the examples that are given an earlier stage
---@field positions 'closed_up'|'kept'
---@field remove_all_beyond? integer
---@field order_seed? integer of `random`
---@field thoughts? integer pauses that the CoT begins with for each token or step removed; nil: one in each place
---@field most_thoughts? integer of an example

--- The order in which the tokens of a CoT go: its positions, from 1 to `length`, the first to go first.
---@alias icot.RemovalOrder fun(length: integer): integer[]

local policies = { closed_up = C.ICOT_CLOSED_UP, kept = C.ICOT_KEPT }
local EVERYTHING = 2 ^ 52 -- more tokens than any CoT has

-- ---- The order in which tokens go ---------------------------------------------------------------

-- From the left and from the right in turns.
local function from_both_ends(length)
  local order = {}
  for i = 1, length do order[i] = i % 2 == 1 and (i + 1) / 2 or length + 1 - i / 2 end
  return order
end

-- The same for all examples of a length, or nobody could know which token comes next.
local function at_random(seed)
  return function(length)
    local drawn, order = random.permutation(random.key(seed, 'removal', length), length), {}
    for i = 1, length do order[i] = drawn[i - 1] + 1 end
    return order
  end
end

local function check_order(order, length)
  local seen, problem = {}, nil
  if type(order) ~= 'table' then
    problem = values.show(order)
  elseif #order ~= length then
    problem = counted.of(#order, 'position')
  end
  for i = 1, problem and 0 or length do
    local at = order[i]
    if type(at) ~= 'number' or at % 1 ~= 0 or at < 1 or at > length or seen[at] then
      problem = ('%s as position number %d'):format(values.show(at), i)
      break
    end
    seen[at] = true
  end
  if not problem then return order end
  errors.raise('removal.side: the function returned %s for a CoT of %s, expected a list of all positions from 1 to %d',
               problem, counted.of(length, 'token'), length)
end

local function call_order(order_of, length)
  local ok, order = pcall(order_of, length)
  if ok then return check_order(order, length) end
  errors.raise('removal.side: the function raised an error for a CoT of %s: %s', counted.of(length, 'token'),
               errors.of_user_code(order))
end

local LONGEST_ORDERED = 20000 -- tokens of a CoT; the table takes 4 bytes for half of that, squared

-- ranks[starts[m] + i]: how many tokens of a CoT of m go before its token i, for all m up to `longest`.
local function tabulate(order_of, longest)
  if longest > LONGEST_ORDERED then
    errors.raise("removal.side: a CoT of %d tokens can only go from the 'left' or 'right'; other sides take at most %d",
                 longest, LONGEST_ORDERED)
  end
  local ranks = ffi.new('int32_t[?]', longest * (longest + 1) / 2 + 1)
  local starts, next_start = ffi.new('int64_t[?]', longest + 1), 0
  for length = 1, longest do
    starts[length] = next_start
    for rank, position in ipairs(call_order(order_of, length)) do ranks[next_start + position - 1] = rank - 1 end
    next_start = next_start + length
  end
  return { ranks = ranks, starts = starts, longest = longest }
end

local function order_of(given)
  if given.side == 'both' then return from_both_ends, 'both' end
  if given.side == 'random' then return at_random(given.order_seed or 0), 'random ' .. (given.order_seed or 0) end
  return given.side, given.side
end

-- Tables that were made, by order and length; the core reads them as long as batches are packed. Those of a function go
-- with it.
local tables = setmetatable({}, { __mode = 'k' })

local function table_of(given, longest)
  local order, name = order_of(given)
  tables[name] = tables[name] or {}
  tables[name][longest] = tables[name][longest] or tabulate(order, longest)
  return tables[name][longest]
end

-- ---- Offsets ------------------------------------------------------------------------------------

-- The user's function; what it raises is the user's to mend.
local function guarded(weight_of)
  return function(offset)
    local ok, weight = pcall(weight_of, offset)
    if ok then return weight end
    errors.raise('removal.smoothing: the function raised an error for the offset %d: %s', offset,
                 errors.of_user_code(weight))
  end
end

-- The weights of offsets 0, 1, … count-1, as a function.
local function weights_of(smoothing, longest)
  if type(smoothing) == 'function' then return guarded(smoothing), longest + 1 end
  return function(offset) return smoothing[offset + 1] end, #smoothing
end

-- P(offset <= i) of weights that need not add up to one.
local function distribution(smoothing, longest)
  local weight_of, count = weights_of(smoothing, longest)
  local at_most, sum = ffi.new('double[?]', math.max(count, 1)), 0
  for offset = 0, count - 1 do
    local weight = weight_of(offset)
    if type(weight) ~= 'number' or not (weight >= 0 and weight < math.huge) then
      errors.raise('removal.smoothing: the weight of offset %d is %s, expected a number of at least 0', offset,
                   values.show(weight))
    end
    sum = sum + weight
    at_most[offset] = sum
  end
  if sum <= 0 then errors.raise('removal.smoothing: all weights are 0, expected one above 0 at least') end
  if sum == math.huge then errors.raise('removal.smoothing: the weights are too large to be added up') end
  for offset = 0, count - 1 do at_most[offset] = at_most[offset] / sum end
  return { at_most = at_most, count = count }
end

local distributions = setmetatable({}, { __mode = 'k' }) -- by what they were made of, and the longest offset

local function set_offsets(cut, smoothing, longest)
  if type(smoothing) == 'number' then
    cut.smoothing = smoothing
  elseif smoothing then
    local made = distributions[smoothing] or {}
    distributions[smoothing] = made
    made[longest] = made[longest] or distribution(smoothing, longest)
    cut.offsets, cut.n_offsets = made[longest].at_most, made[longest].count
  end
end

-- ---- For messages and run files -----------------------------------------------------------------

--- How much of the longest CoT is gone without offsets, when the schedule says s: never more than there is, and all of
--- it from `remove_all_beyond` on.
---@param given icot.Removal
---@param s number
---@param max_cot integer tokens, or steps
---@return integer removed
function removal.of_longest(given, s, max_cot)
  local beyond = given.remove_all_beyond
  return beyond and s >= beyond and max_cot or math.min(s, max_cot)
end

--- The most thoughts that an example has (or pauses, where these lead the CoT). They follow what the schedule removes
--- and not what an example has, so that their number tells nothing about it.
---@param given icot.Removal
---@param data { max_cot: integer }
---@return integer
function removal.thoughts_at_most(given, data)
  local most = math.min(given.remove_all_beyond or math.huge, data.max_cot)
  return math.min(given.most_thoughts or math.huge, (given.thoughts or 0) * most)
end

--- How many thoughts (or pauses) lead the CoT of each example when the schedule says s and no offset is drawn.
---@param given icot.Removal
---@param s number
---@param data { max_cot: integer }
---@return integer
function removal.thoughts_when(given, s, data)
  return math.min((given.thoughts or 0) * math.min(s, EVERYTHING), removal.thoughts_at_most(given, data))
end

--- How many tokens a CoT takes at most, thoughts included: when that much of it is removed for which that is most.
---@param given icot.Removal with `thoughts`
---@param data { max_cot: integer }
---@param ends integer[] tokens of the CoT that are gone when that many tokens, or steps, are removed
---@return integer
function removal.longest_with_thoughts(given, data, ends)
  local length, most = ends[#ends] or 0, removal.thoughts_at_most(given, data)
  local longest = math.max(length, most)
  for removed, gone in ipairs(ends) do
    longest = math.max(longest, length - gone + removal.thoughts_when(given, removed, data))
  end
  return longest
end

-- ---- For the core -------------------------------------------------------------------------------

local units = { token = C.ICOT_TOKENS, step = C.ICOT_STEPS }
local sides = { left = C.ICOT_LEFT, right = C.ICOT_RIGHT }

--- The core's description of a removal.
---@param given icot.Removal must stay as long as what is returned
---@param data { vocabulary: icot.Vocabulary, longest_cot: integer, max_cot: integer }
---@param removed number s, the tokens or steps that the schedule removes now; math.huge: all
---@param draw? { seed: integer, step: integer, offsets?: boolean } for replay, and for offsets unless that is false;
---   without it none are drawn
---@return ffi.cdata* icot_removal
---raises an error when a function or list of the user's is no order or no distribution
function removal.cut(given, data, removed, draw)
  local cut = ffi.new('icot_removal')
  cut.removed, cut.smoothing = math.min(removed, EVERYTHING), -1
  cut.remove_all_beyond = given.remove_all_beyond or -1
  cut.unit = units[given.unit or 'token']
  cut.side, cut.positions = sides[given.side] or C.ICOT_ORDERED, policies[given.positions]
  cut.eos, cut.separator, cut.pause = data.vocabulary.eos, data.vocabulary.separator, data.vocabulary.pause or -1
  if cut.pause >= 0 then
    cut.pauses_each, cut.pauses_most = given.thoughts or 0, removal.thoughts_at_most(given, data)
  end
  if cut.side == C.ICOT_ORDERED then
    local order = table_of(given, data.longest_cot)
    cut.ranks, cut.rank_starts, cut.longest = order.ranks, order.starts, order.longest
  end
  if draw then
    if draw.offsets ~= false then set_offsets(cut, given.smoothing, data.longest_cot) end
    cut.replay, cut.key = given.replay or 0, random.key(draw.seed, 'offset', draw.step)
  end
  return cut
end

-- ---- For decoding -------------------------------------------------------------------------------

-- Which tokens of an example's CoT are left when no offset is drawn: kept[i] is 1 or 0, i from 0.
local function cut_example(cut, corpus, id)
  local question, cot = corpus:lengths(id)
  local kept = ffi.new('uint8_t[?]', math.max(cot, 1))
  core.check(C.icot_removal_kept(cut, corpus.handle, id, kept))
  return kept, cot, question
end

-- Whether a token is gone that stood behind one that is left.
local function has_gaps(kept, cot)
  local is_any_left = false
  for i = 0, cot - 1 do
    if kept[i] == 0 and is_any_left then return true end
    is_any_left = is_any_left or kept[i] == 1
  end
  return false
end

-- Whether a pause stands in the place of each token that is gone.
local function fills_places(cut)
  return cut.pause >= 0 and cut.pauses_each == 0
end

--- The CoT tokens that are left, as they are when no offset is drawn; all, where pauses stand in the places of those
--- that are gone.
---@param cut ffi.cdata* icot_removal, from `removal.cut`
---@param corpus icot.Corpus
---@param id integer of the example, from 0
---@return integer[] left their places in the whole CoT, from 1 on
function removal.left(cut, corpus, id)
  local kept, cot = cut_example(cut, corpus, id)
  local left = {}
  for i = 0, cot - 1 do
    if fills_places(cut) or kept[i] == 1 then left[#left + 1] = i + 1 end
  end
  return left
end

--- Where decoding has to place what it writes after `question <eos>`, if that isn't just one position after the other:
--- with positions kept, tokens after a gap have the positions that they had.
---@param cut ffi.cdata* icot_removal, from `removal.cut`
---@param corpus icot.Corpus
---@param id integer of the example, from 0
---@return { cot: integer[], rest: integer }? places positions of the CoT tokens that are left, and of the <eos> after
---   them; nil: positions just count on by one
function removal.places(cut, corpus, id)
  if cut.positions ~= C.ICOT_KEPT or fills_places(cut) then return nil end
  local kept, cot, question = cut_example(cut, corpus, id)
  if not has_gaps(kept, cot) then return nil end
  local places = { cot = {}, rest = question + cot + 1 }
  for i = 0, cot - 1 do
    if kept[i] == 1 then table.insert(places.cot, question + i + 1) end
  end
  return places
end

--- How many thoughts (or pauses) lead the CoT of each example when no offset is drawn.
---@param cut ffi.cdata* icot_removal, from `removal.cut`
---@return integer
function removal.leading(cut)
  if cut.pause < 0 then return 0 end
  return math.min(tonumber(cut.pauses_each) * tonumber(cut.removed), tonumber(cut.pauses_most))
end

--- Where pauses stand in a CoT but at its beginning, where they belong to the prompt.
---@param cut ffi.cdata* icot_removal, from `removal.cut`
---@param corpus icot.Corpus
---@param id integer of the example, from 0
---@return integer[]? pauses how many come after each CoT token that is left; nil: none
function removal.pauses(cut, corpus, id)
  if not fills_places(cut) then return nil end
  local kept, cot = cut_example(cut, corpus, id)
  if not has_gaps(kept, cot) then return nil end
  local pauses = {}
  for i = 0, cot - 1 do
    if kept[i] == 1 then
      pauses[#pauses + 1] = 0
    elseif #pauses > 0 then
      pauses[#pauses] = pauses[#pauses] + 1
    end
  end
  return pauses
end

return removal
