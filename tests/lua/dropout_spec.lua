--- Dropout of GPT-2: in its three places, drawn from seed and step, and only while training. That loss and gradients
--- with these masks are those of PyTorch with the very same masks is compared in tests/reference.
local batch = require 'icot.text.batch'
local course = require 'tests.reference.course'
local evaluate = require 'icot.training.evaluate'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local masks = require 'tests.reference.masks'
local random = require 'icot.engine.random'
local recipes = require 'tests.lua.support.recipes'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local temporary = require 'tests.lua.support.temporary'
local tensor = require 'icot.tensor'
local tiny = require 'tests.lua.support.tiny'

local data = tiny.dataset()
local draw = { seed = 3, step = 8 }
local removing = { side = 'left', smoothing = 4, positions = 'closed_up' }
local REPEATS = 20 -- of the six examples, so that each mask has thousands of elements

local function with_batch(body)
  local packed, n = batch.new(), 6 * REPEATS
  local ids = ffi.new('int64_t[?]', n)
  for i = 0, n - 1 do ids[i] = i % 6 end
  packed:pack(data.train, ids, n, removal.cut(removing, data, 1))
  scope.run(scope.no_grad, body, packed)
  packed:free()
end

-- The elements of a mask that decide about something, as a list: all of them, or those up to the query's own token.
local function elements(mask, packed)
  local values, raw, shape = mask:totable(), packed.raw, mask:shape()
  local list = {}
  local function add(row, last)
    for j = 1, last do list[#list + 1] = row[j] end
  end
  if #shape == 2 then
    for _, row in ipairs(values) do add(row, shape[2]) end
    return list
  end
  for _, head in ipairs(values) do
    for b = 0, tonumber(raw.n_examples) - 1 do
      for row = raw.cu_seqlens[b], raw.cu_seqlens[b + 1] - 1 do add(head[row + 1], row - raw.cu_seqlens[b] + 1) end
    end
  end
  return list
end

local function read_all(model, packed, at)
  local lists = {}
  for name, mask in pairs(masks.read(model, packed, at)) do lists[name] = elements(mask, packed) end
  return lists
end

describe('dropout', function()
  local p = 0.1
  local model, plain = tiny.model(data, { dropout = p }), tiny.model(data)

  local function loss_of(which, packed, at) return (which:loss(packed, at)):item() end

  it('stands in three places: after the embedding, on attention, and before each addition to the residual', function()
    local names = {}
    for _, place in ipairs(masks.places(model)) do
      names[#names + 1] = place.name
      assert.equal(p, place.layer.p)
    end
    assert.same({ 'embedding', 'h.0.attention', 'h.0.residual', 'h.0.mlp',
                  'h.1.attention', 'h.1.residual', 'h.1.mlp' }, names)
    with_batch(function(packed) -- and each of them matters
      for _, place in ipairs(masks.places(model)) do
        masks.set_probability(model, 0)
        place.layer.p = p
        assert.not_equal(loss_of(plain, packed), loss_of(model, packed, draw), place.name)
      end
      masks.set_probability(model, p)
    end)
  end)

  it('keeps a share of 1-p in each place, scaled so that mean and variance are those of inverted dropout', function()
    with_batch(function(packed)
      for name, list in pairs(read_all(model, packed, draw)) do
        local kept, n = 0, #list
        for _, value in ipairs(list) do
          assert(value == 0 or math.abs(value - 1 / (1 - p)) < 1e-5, name)
          if value > 0 then kept = kept + 1 end
        end
        -- mean and variance are kept/n · 1/(1-p) and kept/n · (1 - kept/n) / (1-p)²: the keep rate says it all
        local deviation = math.sqrt(p * (1 - p) / n)
        assert(n > 5000 and math.abs(kept / n - (1 - p)) < 4 * deviation, ('%s: %d of %d'):format(name, kept, n))
      end
    end)
  end)

  it('draws the places independently of each other, and neighbours too', function()
    with_batch(function(packed)
      local lists, names = read_all(model, packed, draw), {}
      for name in pairs(lists) do names[#names + 1] = name end
      -- dropped in both at once: p² of the elements, in whatever pair of sequences of draws
      local function expect_independent(a, b, shift, what)
        local both, n = 0, math.min(#a, #b) - shift
        for i = 1, n do
          if a[i] == 0 and b[i + shift] == 0 then both = both + 1 end
        end
        assert(math.abs(both / n - p * p) < 5 * math.sqrt(p * p * (1 - p * p) / n), what)
      end
      for i, name in ipairs(names) do
        expect_independent(lists[name], lists[name], 1, name)
        for j = i + 1, #names do expect_independent(lists[name], lists[names[j]], 0, name .. ', ' .. names[j]) end
      end
    end)
  end)

  it('gives the same masks for the same seed and step, and others for another', function()
    with_batch(function(packed)
      local first = read_all(model, packed, draw)
      assert.same(first, read_all(model, packed, { seed = 3, step = 8 }))
      for _, other in ipairs { { seed = 3, step = 9 }, { seed = 4, step = 8 } } do
        for name, list in pairs(read_all(model, packed, other)) do assert.not_same(first[name], list) end
      end
      assert.equal(loss_of(model, packed, draw), loss_of(model, packed, { seed = 3, step = 8 }))
      assert.not_equal(loss_of(model, packed, draw), loss_of(model, packed, { seed = 3, step = 9 }))
    end)
  end)

  it('of a part, anywhere in a whole, is what the whole has there', function()
    local key, n = random.key(3, 'dropout', 8), 23
    local whole = scope.run(function() return tensor.ones({ n }):dropout(0.5, key):totable() end)
    for first = 0, 9 do
      local part = scope.run(function() return tensor.ones({ n - 9 }):dropout(0.5, key, first):totable() end)
      for i = 1, n - 9 do assert.equal(whole[first + i], part[i]) end
    end
    local problem = expect.user_error(function() tensor.ones({ 2 }):dropout(0.5, key, -1) end)
    expect.mentions(problem, 'dropout', '-1')
  end)

  it('of p = 0 is none', function()
    with_batch(function(packed)
      assert.equal(loss_of(plain, packed), loss_of(plain, packed, draw))
      for _, list in pairs(read_all(plain, packed, draw)) do
        for _, value in ipairs(list) do assert(math.abs(value - 1) < 1e-6) end
      end
    end)
  end)

  it('is off in evaluations', function()
    local options = { examples = 6, batch = 6, samples = 6 }
    local with = evaluate.run(model, data, 'valid', 1, removing, options)
    local without = evaluate.run(plain, data, 'valid', 1, removing, options)
    with.examples_per_second, without.examples_per_second = nil, nil
    assert.equal(tostring(without.loss), tostring(with.loss))
    assert.same(without.samples, with.samples)
    assert.equal(without.token_accuracy, with.token_accuracy)
  end)

  -- Losses of the first updates of a recipe's training.
  local function losses_with(dropout)
    local settings = { 'train.steps=4', 'model.dropout=' .. dropout }
    local run = recipes.load('tests/reference/running_maxima.lua', settings).runs[1]
    run.output, run.model_output = temporary.folder() .. '/run.h5', temporary.folder()
    local losses = course.run(run)
    temporary.clean()
    return losses
  end

  it('is what model.dropout of a recipe says, from the first update on', function()
    local none, some, again = losses_with(0), losses_with(0.1), losses_with(0.1)
    assert.same(some, again)
    for step = 1, 4 do assert.not_equal(none[step], some[step]) end
    assert.near(none[1], some[1], 0.5)
  end)
end)
