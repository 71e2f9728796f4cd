--- Activation checkpointing: the same bits with less memory.
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local gpt2 = require 'icot.gpt2'
local optim = require 'icot.training.optim'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local tensor = require 'icot.tensor'
local tiny = require 'tests.lua.support.tiny'
local training = require 'icot.training'

local data = tiny.dataset()

-- The six examples again and again, as many of them as a batch of a real training has.
local function large_batch()
  local packed, n = batch.new(), 240
  local ids = ffi.new('int64_t[?]', n)
  for i = 0, n - 1 do ids[i] = i % 6 end
  packed:pack(data.train, ids, n, removal.cut({ side = 'left', positions = 'closed_up' }, data, 1))
  return packed
end

local function bits_of(parameter)
  local values, n = parameter:grad():read()
  return ffi.string(values, 4 * n)
end

-- Loss and gradients of one forward and backward pass, and the most bytes live above what was there before it.
local function learn(model, packed)
  local before, found = core.memory().live, {}
  core.C.icot_memory_reset_peak()
  scope.run(function()
    local loss = model:loss(packed, { seed = 4, step = 11 })
    found.loss = loss:item()
    loss:backward()
  end)
  found.peak, found.gradients = core.memory().peak - before, {}
  scope.run(function()
    for i, parameter in ipairs(model:parameters()) do found.gradients[i] = bits_of(parameter) end
  end)
  local optimizer = optim.AdamW(model:parameters())
  optimizer:zero_grad()
  optimizer:free()
  found.left = core.memory().live - before
  return found
end

describe('a model with activation checkpointing', function()
  local model, packed
  before_each(function()
    packed = large_batch()
    model = gpt2.new({ vocab_size = data.vocabulary.size, layers = 6, heads = 4, width = 32,
                       context = data.max_length, dropout = 0.1 }, 1)
  end)
  after_each(function()
    packed:free()
    model:free()
  end)

  it('has the same loss and gradients, bit for bit, dropout included', function()
    local without = learn(model, packed)
    model.activation_checkpointing = true
    local with = learn(model, packed)
    assert.equal(without.loss, with.loss)
    assert.same(without.gradients, with.gradients)
  end)

  it('has the same bits where blocks are one operator', function()
    local fuses_layers = tensor.fuses_layers
    finally(function() tensor.fuses_layers = fuses_layers end)
    tensor.fuses_layers = function() return true end
    local without = learn(model, packed)
    model.activation_checkpointing = true
    local with = learn(model, packed)
    assert.equal(without.loss, with.loss)
    assert.same(without.gradients, with.gradients)
    assert.is_true(with.peak < 0.6 * without.peak)
  end)

  it('has the same bits in bf16, where the machine has that', function()
    if core.set_precision('bf16') ~= 'bf16' then return pending('no bfloat16 here') end
    finally(function() core.set_precision('float32') end)
    local without = learn(model, packed)
    model.activation_checkpointing = true
    local with = learn(model, packed)
    assert.equal(without.loss, with.loss)
    assert.same(without.gradients, with.gradients)
  end)

  -- Measured are the bytes that a forward and backward pass takes beside parameters.
  it('takes less than 60 % of the memory, and leaves nothing behind', function()
    local without = learn(model, packed)
    model.activation_checkpointing = true
    for _ = 1, 3 do
      local with = learn(model, packed)
      assert(with.peak < 0.6 * without.peak, ('%d of %d bytes'):format(with.peak, without.peak))
      assert.equal(0, with.left)
    end
    assert.equal(0, without.left)
  end)

  it('answers and watches its layers as ever', function()
    model.activation_checkpointing = true
    local seen = {}
    scope.run(function()
      model:loss(packed, nil, function(name, output) seen[#seen + 1] = { name, output:read()[0] } end)
    end)
    assert.equal(8, #seen) -- embeddings, six blocks, the last norm
  end)
end)

describe('tensor.checkpoint', function()
  local weight = tensor.randn { 5, 5 }:requires_grad_()

  it('gives what the function returns, and only that', function()
    scope.run(function()
      local x, inner = tensor.ones { 2, 5 }
      local y, label, z = tensor.checkpoint(function(given)
        inner = given:linear(weight):tanh()
        return inner * 2, 'label', inner:sum()
      end, x)
      assert.equal('label', label)
      assert.same({ 2, 5 }, y:shape())
      assert.is_true(z:item() == z:item())
      assert.same({ 2, 5 }, inner:shape())
      for _, use in ipairs { function() return inner:read() end, function() return inner + y end,
                             function() return inner:narrow(0, 0, 1) end, function() return inner:keep() end } do
        expect.mentions(expect.user_error(use), 'contents were dropped', 'checkpointed segment')
      end
    end)
  end)

  it('passes errors on, and what was recorded before stays as it was', function()
    scope.run(function()
      local inner
      local ok, problem = pcall(tensor.checkpoint, function()
        inner = weight:tanh()
        error('no')
      end)
      assert.is_false(ok)
      assert.matches('no', problem)
      inner:sum():backward()
      assert.equal(5, weight:grad():size(0))
    end)
  end)

  it('refuses a backward inside', function()
    scope.run(function()
      local other = weight:tanh():sum()
      local problem = expect.user_error(tensor.checkpoint, function() other:backward() end)
      expect.mentions(problem, 'checkpoint', 'neither backward')
    end)
  end)
end)

describe('train.activation_checkpointing', function()
  after_each(temporary.clean)

  it('changes no bit of a training', function()
    local losses = {}
    for i, settings in ipairs { {}, { 'train.activation_checkpointing=true' } } do
      settings[#settings + 1] = 'model.layers=3'
      local self = training.new(small.run { model = ', dropout = 0.1', settings = settings })
      losses[i] = {}
      for step = 1, 10 do
        self:update(math.floor(step / 3))
        losses[i][step] = self.state.loss
      end
      losses[i].flops = self.meter:state().flops
      self:free()
    end
    assert.same(losses[1], losses[2])
  end)

  it('has live bytes that stay the same over updates', function()
    local self = training.new(small.run { settings = { 'train.activation_checkpointing=true', 'train.accumulate=3' } })
    self:update(0)
    self:update(0)
    collectgarbage()
    collectgarbage('stop')
    local live = core.memory().live
    for _ = 1, 60 do self:update(0) end
    assert.equal(live, core.memory().live)
    collectgarbage('restart')
    self:free()
  end)
end)
