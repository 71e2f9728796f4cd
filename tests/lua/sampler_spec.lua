--- Which examples the batches hold.
local expect = require 'tests.lua.support.expect'
local sampler = require 'icot.text.sampler'

local function batch_at(examples, step)
  local ids, n = examples:at(step)
  local list = {}
  for i = 1, n do list[i] = tonumber(ids[i - 1]) end
  return list
end

local function epoch_of(examples, epoch)
  local all, sizes = {}, {}
  for step = epoch * examples.steps_per_epoch, (epoch + 1) * examples.steps_per_epoch - 1 do
    local ids = batch_at(examples, step)
    sizes[#sizes + 1] = #ids
    for _, id in ipairs(ids) do all[#all + 1] = id end
  end
  return all, sizes
end

local function sorted(list)
  local copy = { unpack(list) }
  table.sort(copy)
  return copy
end

describe('the sampler', function()
  it('takes every example once per epoch', function()
    for _, case in ipairs { { 10, 3, { 3, 3, 3, 1 } }, { 12, 4, { 4, 4, 4 } }, { 5, 8, { 5 } }, { 1, 1, { 1 } } } do
      local size, batch, expected_sizes = unpack(case)
      local examples, all_ids = sampler.new(size, batch, 4), {}
      for i = 1, size do all_ids[i] = i - 1 end
      for epoch = 0, 3 do
        local ids, sizes = epoch_of(examples, epoch)
        assert.same(all_ids, sorted(ids))
        assert.same(expected_sizes, sizes)
      end
    end
  end)

  it('takes another order in every epoch, and for every seed', function()
    local examples, other = sampler.new(50, 7, 1), sampler.new(50, 7, 2)
    local first = epoch_of(examples, 0)
    assert.not_same(first, epoch_of(examples, 1))
    assert.not_same(first, epoch_of(other, 0))
    assert.not_same(first, sorted(first))
  end)

  it('depends on nothing but seed and step', function()
    local one, other, expected = sampler.new(50, 7, 1), sampler.new(50, 7, 1), {}
    for step = 0, 40 do expected[step] = batch_at(one, step) end
    for _, step in ipairs { 40, 3, 17, 0, 8, 7, 39 } do assert.same(expected[step], batch_at(other, step)) end
  end)

  it('refuses an empty dataset', function()
    expect.mentions(expect.user_error(sampler.new, 0, 8, 1), 'no training examples')
  end)
end)
