--- Memory that runs out at every allocation in turn: each time a clear error, nothing lost, and all goes on after it.
local checkpoint = require 'icot.saved.checkpoint'
local checkpoint_keeper = require 'icot.training.checkpoint_keeper'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local evaluate = require 'icot.training.evaluate'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local training = require 'icot.training'

local MOST = 20000 -- allocations of one piece of work

local function live_bytes()
  collectgarbage()
  collectgarbage()
  return core.memory().live
end

--- Does a piece of work again and again, failing its first allocation, its second, …, until there is none left to fail.
---@param work fun(): any
---@param after_failure? fun() what must hold after each failure
---@param undo? fun(result: any) for work that got through in spite of a failure
---@return any result of the last time
---@return integer failures
local function fail_each_allocation(work, after_failure, undo)
  local before, failures = live_bytes(), 0
  for nth = 1, MOST do
    local allocations = core.memory().allocations
    core.C.icot_memory_fail_at(nth)
    local ok, result = pcall(work)
    core.C.icot_memory_fail_at(0)
    if ok and core.memory().allocations - allocations < nth then return result, failures end
    if ok then
      assert(undo, 'it got through in spite of a failure')(result)
    else
      failures = failures + 1
      assert.is_true(errors.is_user_error(result), tostring(result))
      assert.matches('out of memory', result.message)
      if after_failure then after_failure() end
    end
    assert.equal(before, live_bytes())
  end
  error('it never got through')
end

local function values_of(model)
  local values = {}
  for i, parameter in ipairs(model:parameters()) do values[i] = parameter:totable() end
  return values
end

-- A training with dropout after some updates, so that it has moments.
local function trained(updates, settings)
  local self = training.new(small.run { model = ', dropout = 0.1', settings = settings })
  for _ = 1, updates do self:update(0) end
  return self
end

local function parts_of(self)
  local parts = self:checkpoint_parts()
  parts.description.config = self.config
  return parts
end

describe('when memory runs out', function()
  after_each(temporary.clean)

  -- What the next update gives when every allocation of it has failed before, one after the other.
  local function fail_an_update(settings)
    local undisturbed = trained(3, settings)
    undisturbed:update(0)
    local self = trained(3, settings)
    local _, failures = fail_each_allocation(function() self:update(0) end, function()
      assert.equal(3, self.state.step)
    end)
    assert(failures > 20, failures)
    assert.equal(undisturbed.state.loss, self.state.loss)
    assert.same(values_of(undisturbed.model), values_of(self.model))
    self:free()
    undisturbed:free()
  end

  it('in an update, the next one is as if nothing had been', function() fail_an_update {} end)

  it('in an update of several parts that are computed again, too', function()
    fail_an_update { 'train.accumulate=2', 'train.activation_checkpointing=true' }
  end)

  it('in an evaluation, it can be done again', function()
    local self = trained(2)
    local function run()
      return evaluate.run(self.model, self.data, 'valid', 3, self.config.removal, self.config.evaluate)
    end
    local expected = run()
    local found, failures = fail_each_allocation(run)
    assert(failures > 20, failures)
    assert.equal(expected.loss, found.loss)
    assert.same(expected.positions, found.positions)
    self:free()
  end)

  it('while a checkpoint is saved, the one before stands and nothing is left of the new one', function()
    local self, folder = trained(2), temporary.folder() .. '/checkpoints'
    checkpoint.write(checkpoint.path(folder, 1), parts_of(self))
    local first = temporary.read(checkpoint.path(folder, 1) .. '/model.safetensors')
    local second = checkpoint.path(folder, 2)
    local function save() checkpoint.write(second, parts_of(self)) end
    local _, failures = fail_each_allocation(save, function()
      assert.equal(1, #checkpoint.list(folder))
      assert.is_nil(temporary.read(second .. '.partial/checkpoint.json'))
    end, function() checkpoint.remove(second) end)
    assert(failures > 20, failures)
    assert.equal(first, temporary.read(second .. '/model.safetensors'))
    self:free()
  end)

  it('while a run is loaded from a checkpoint, it can be loaded again', function()
    local self, folder = trained(3), temporary.folder() .. '/checkpoints'
    assert.is_true(checkpoint_keeper.new(folder, self.config.checkpoint):save(self, {}))
    local path = checkpoint.path(folder, 3)
    self:update(0)
    local again, failures = fail_each_allocation(function()
      return training.new(self.run, { from = checkpoint.read(path), allow_changes = false })
    end, nil, function(loaded) loaded:free() end)
    assert(failures > 20, failures)
    again:update(0)
    assert.equal(self.state.loss, again.state.loss)
    assert.same(values_of(self.model), values_of(again.model))
    self:free()
    again:free()
  end)
end)
