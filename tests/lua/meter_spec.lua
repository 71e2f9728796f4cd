--- The meter: means over an interval, totals over a training.
local core = require 'icot.engine.core'
local meter = require 'icot.training.meter'

-- As much of a batch and a model as the meter looks at.
local function batch(tokens, targets)
  return {
    tokens = function() return tokens end, targets = function() return targets end,
    shape = function() return { tokens = tokens, targets = targets, pairs = tokens ^ 2 } end,
  }
end
local model = { step_flops = function(_, shape) return shape.tokens + 10 * shape.targets + shape.pairs end }

describe('the meter', function()
  local measuring
  before_each(function()
    measuring = meter.new()
    measuring:start()
    measuring:add(batch(100, 10), model, { loss = 2, hits = 5, grad_norm = 1 }, 0.1)
    measuring:add(batch(300, 30), model, { loss = 1, hits = 25, grad_norm = 3 }, 0.2)
    measuring:note_reset()
  end)

  it('weighs losses and hits by targets, and norms by updates', function()
    local row = measuring:interval()
    assert.near((2 * 10 + 1 * 30) / 40, row.loss, 1e-12)
    assert.near(30 / 40, row.token_accuracy, 1e-12)
    assert.equal(2, row.grad_norm)
    assert.equal(0.2, row.lr)
    assert.is_true(row.optimizer_reset)
  end)

  it('begins anew after each interval', function()
    measuring:interval()
    measuring:add(batch(10, 4), model, { loss = 7, hits = 1, grad_norm = 5 }, 0.3)
    assert.same({ loss = 7, token_accuracy = 0.25, grad_norm = 5, lr = 0.3, optimizer_reset = false },
      measuring:interval())
  end)

  it('adds up tokens and operations over all intervals', function()
    measuring:interval()
    local totals = measuring:totals()
    assert.equal(400, totals.tokens)
    assert.equal(400 + 10 * 40 + 100 ^ 2 + 300 ^ 2, totals.flops)
  end)

  it('leaves out what was spent on something else', function()
    local wait_until = core.C.icot_seconds() + 0.03
    while core.C.icot_seconds() < wait_until do end
    assert(measuring:seconds() >= 0.03 and measuring:tokens_per_second() > 0)
    measuring:pause(1000)
    assert(measuring:seconds() < 0)
  end)
end)

describe('the meter', function()
  it('all pauses are left out', function()
    local counting = require('icot.training.meter').new()
    counting:start()
    counting:pause(1)
    counting:pause(2)
    assert.near(-3, counting:seconds(), 0.5)
  end)
end)
