--- How the CoT is cut: orders in which tokens go, distributions of offsets, and what is said about bad ones.
local batch = require 'icot.text.batch'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local program = require 'tests.lua.support.program'
local removal = require 'icot.text.removal'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local tiny = require 'tests.lua.support.tiny'

local vocabulary = { eos = 0, separator = 1 }

local function cut_of(fields, length, removed, draw)
  fields.side, fields.positions = fields.side or 'left', fields.positions or 'closed_up'
  return removal.cut(fields, { vocabulary = vocabulary, longest_cot = length }, removed or 0, draw)
end

-- The order in which the tokens of a CoT go, from the core's table.
local function order_of(side, length, seed)
  local cut, order = cut_of({ side = side, order_seed = seed }, length), {}
  for i = 0, length - 1 do order[cut.ranks[cut.rank_starts[length] + i] + 1] = i + 1 end
  return order
end

describe('the order of removal', function()
  it('is from both ends in turns', function()
    assert.same({ 1, 5, 2, 4, 3 }, order_of('both', 5))
    assert.same({ 1, 4, 2, 3 }, order_of('both', 4))
    assert.same({ 1 }, order_of('both', 1))
  end)

  it('is random, but the same each time and for each length', function()
    local order = order_of('random', 40, 7)
    assert.same(order, order_of('random', 40, 7))
    assert.not_same(order, order_of('random', 40, 8))
    local sorted = { unpack(order) }
    table.sort(sorted)
    for i = 1, 40 do assert.equal(i, sorted[i]) end
    assert.not_same(sorted, order)
  end)

  it('is what a function of the user\'s says', function()
    local function backwards(length)
      local order = {}
      for i = 1, length do order[i] = length + 1 - i end
      return order
    end
    assert.same({ 3, 2, 1 }, order_of(backwards, 3))
  end)

  it('must name every position once', function()
    local cases = {
      { nil, 'returned nil for a CoT of 1 token' }, { { 1, 2 }, '2 positions for a CoT of 1 token' },
    }
    for _, case in ipairs(cases) do
      expect.mentions(expect.user_error(order_of, function() return case[1] end, 2), 'removal.side', case[2])
    end
    local function second_only(bad)
      return function(length) return length == 1 and { 1 } or { 1, bad } end
    end
    for _, bad in ipairs { 1, 3, 0, 1.5, 'x' } do
      expect.mentions(expect.user_error(order_of, second_only(bad), 2), 'as position number 2 for a CoT of 2 tokens')
    end
    expect.mentions(expect.user_error(order_of, function() error('no\nidea') end, 2), 'raised', 'no idea')
    expect.mentions(expect.user_error(order_of, function() return {} end, 20001), 'a CoT of 20001 tokens can only go')
  end)
end)

describe('the offsets', function()
  local draw = { seed = 1, step = 2 }

  local function distribution(smoothing, longest)
    local cut, list = cut_of({ smoothing = smoothing }, longest or 5, 0, draw), {}
    for i = 1, tonumber(cut.n_offsets) do list[i] = cut.offsets[i - 1] end
    return list, cut
  end

  it('follow λ, a list of weights, or a function of the user\'s', function()
    local list, cut = distribution(4)
    assert.same({ {}, 4 }, { list, cut.smoothing })
    assert.same({ 0.5, 0.5, 1 }, (distribution { 2, 0, 2 }))
    assert.same({ 0.25, 0.5, 0.75, 1 }, (distribution(function() return 3 end, 3)))
    assert.equal(-1, select(2, distribution(false)).smoothing)
  end)

  it('of a function reach as far as the CoT of each dataset', function()
    local function even() return 1 end
    assert.equal(4, #distribution(even, 3))
    assert.equal(8, #distribution(even, 7))
  end)

  it('are refused if they are no distribution', function()
    for _, bad in ipairs { { 0, 0 }, { -1, 2 }, { 1, 0 / 0 }, { math.huge }, {}, { 1e308, 1e308 } } do
      expect.mentions(expect.user_error(distribution, bad), 'removal.smoothing')
    end
    expect.mentions(expect.user_error(distribution, function() error('no\nidea') end),
                    'raised an error for the offset 0', 'no idea')
    expect.mentions(expect.user_error(distribution, function() return nil end), 'offset 0 is nil')
  end)
end)

describe('a batch', function()
  it('replays earlier stages in the share that is asked for', function()
    local data = tiny.dataset()
    local packed, lengths, id = batch.new(), {}, 0
    while select(2, data.train:lengths(id)) == 0 do id = id + 1 end
    for step = 1, 200 do
      local cut = removal.cut({ side = 'left', positions = 'closed_up', replay = 0.5, smoothing = false }, data, 1,
                              { seed = 3, step = step })
      packed:pack(data.train, ffi.new('int64_t[1]', id), 1, cut)
      lengths[packed:tokens()] = (lengths[packed:tokens()] or 0) + 1
    end
    local counts = {}
    for _, count in pairs(lengths) do counts[#counts + 1] = count end
    assert.equal(2, #counts)
    assert(math.min(counts[1], counts[2]) > 70)
    packed:free()
    data:free()
  end)
end)

describe('a training', function()
  after_each(temporary.clean)

  it('takes all of these from a recipe, and is evaluated with them again', function()
    local ok, result, path = small.train {
      more = [[ removal = {
        positions = 'kept', replay = 0.1, smoothing = { 8, 1, 1 },
        side = function(length) local o = {}; for i = 1, length do o[i] = length + 1 - i end; return o end,
      },]],
      schedule = "{ kind = 'linear', steps_per_token = 10 }",
    }
    assert(ok, result)
    local shown = program.run { 'eval', path, '--threads', '1' }
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.out, ('accuracy         %.4f'):format(result.accuracy))
  end)

  it('keeps a random order when it is evaluated again', function()
    local run = small.run { settings = { 'removal.side=random' } }
    assert.equal(3, run.config.removal.order_seed)
  end)
end)

describe('what is left for decoding', function()
  it('is nothing from remove_all_beyond on, as in the core', function()
    local data = tiny.dataset { { 4, 8, 2 } }
    for removed = 0, 4 do
      local cut = cut_of({ side = 'right', positions = 'kept', remove_all_beyond = 3 }, 8, removed)
      assert.equal(removed < 3 and 8 - removed or 0, #removal.left(cut, data.train, 0))
      local places = removal.places(cut, data.train, 0)
      assert.equal(removed == 1 or removed == 2, places ~= nil) -- no gap where nothing is left, or nothing gone
    end
    data:free()
  end)
end)
