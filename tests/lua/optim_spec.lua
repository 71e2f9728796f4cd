--- AdamW, clipping and learning rates. (tests/c/test_optimizer.c compares many steps with float64.)
local core = require 'icot.engine.core'
local optim = require 'icot.training.optim'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local function with_gradient(values, gradient)
  local p = tensor.new(values):requires_grad_()
  scope.run(function() (p * tensor.new(gradient)):sum():backward() end)
  return p
end

describe('AdamW', function()
  it('moves every parameter by lr against the sign of its gradient at first, and decays it', function()
    local p = with_gradient({ 1, -2 }, { 0.3, -40 })
    local optimizer = optim.AdamW({ p }, { lr = 0.1, weight_decay = 0.5 })
    optimizer:step()
    local after = p:totable()
    assert.near(1 * 0.95 - 0.1, after[1], 1e-6)
    assert.near(-2 * 0.95 + 0.1, after[2], 1e-6)
    optimizer:free()
    p:free()
  end)

  it('has PyTorch\'s defaults', function()
    local settings = optim.AdamW({}).settings
    assert.same({ 1e-3, 0.9, 0.999, 1e-8, 0.01 },
      { settings.lr, settings.beta1, settings.beta2, settings.eps, settings.weight_decay })
  end)

  it('begins anew after a reset', function()
    local p = with_gradient({ 0 }, { 1 })
    local optimizer = optim.AdamW({ p }, { lr = 0.1, weight_decay = 0 })
    for _ = 1, 5 do optimizer:step() end
    assert.equal(5, optimizer.updates)
    optimizer:reset()
    assert.same({ 0, { 0 }, { 0 } },
      { optimizer.updates, optimizer.exp_avg[1]:totable(), optimizer.exp_avg_sq[1]:totable() })
    local before = p:totable()[1]
    optimizer:zero_grad()
    assert.is_nil(p:grad())
    optimizer:step() -- no gradient: nothing moves
    assert.equal(before, p:totable()[1])
    scope.run(function() (p * -3):sum():backward() end)
    optimizer:reset()
    optimizer:step { lr = 0.2 }
    assert.near(before + 0.2, p:totable()[1], 1e-6)
    optimizer:free()
    p:free()
  end)

  it('forgets one moment, or a part of both', function()
    local function after(policy, factor)
      local p = with_gradient({ 0 }, { 2 })
      local optimizer = optim.AdamW({ p }, { lr = 0.1, weight_decay = 0 })
      for _ = 1, 5 do optimizer:step() end
      local m, v = optimizer.exp_avg[1]:totable()[1], optimizer.exp_avg_sq[1]:totable()[1]
      optimizer:reset(policy, factor)
      local now = {
        optimizer.exp_avg[1]:totable()[1] / m, optimizer.exp_avg_sq[1]:totable()[1] / v, optimizer.updates,
        optimizer.updates_sq,
      }
      local before = p:totable()[1]
      optimizer:step()
      local moved = before - p:totable()[1]
      optimizer:free()
      p:free()
      return now, moved
    end
    -- a gradient that stays the same moves by lr each time, whatever is forgotten, if the corrections are right
    for policy, expected in pairs {
      first = { 0, 1, 0, 5 }, second = { 1, 0, 5, 0 }, all = { 0, 0, 0, 0 }, keep = { 1, 1, 5, 5 },
    } do
      local now, moved = after(policy)
      assert.same(expected, now)
      assert.near(0.1, moved, 1e-6)
    end
    local now = after('decay', 0.25)
    assert.near(0.25, now[1], 1e-6)
    assert.near(0.25, now[2], 1e-6)
    assert.same({ 5, 5 }, { now[3], now[4] })
    assert.same({ 0, 0, 0, 0 }, (after('decay', 0)))
  end)

  it('measures the gradients of all parameters together', function()
    local p, q = with_gradient({ 1, 1 }, { 3, 0 }), with_gradient({ 1 }, { -4 })
    local none = tensor.ones({ 2 }):requires_grad_()
    local optimizer = optim.AdamW { p, q, none }
    assert.near(5, optimizer:grad_norm(), 1e-9)
    optimizer:zero_grad()
    assert.equal(0, optimizer:grad_norm())
    optimizer:free()
    for _, each in ipairs { p, q, none } do each:free() end
  end)

  it('gives its moments back', function()
    local p = tensor.ones { 1000 }
    local before = core.memory().live
    local optimizer = optim.AdamW { p }
    assert(core.memory().live >= before + 8000)
    optimizer:free()
    assert.equal(before, core.memory().live)
    p:free()
  end)
end)

describe('clipping', function()
  it('brings the norm down to the largest allowed, and never up', function()
    assert.near(0.5, optim.clip_scale(2, 1), 1e-6)
    assert.equal(1, optim.clip_scale(0.3, 1))
    assert.equal(1, optim.clip_scale(0, 1))
    assert.equal(1, optim.clip_scale(1e30, false))
  end)
end)

describe('the learning rate', function()
  local function rate(changes, total)
    local options = { lr = 2, warmup_steps = 0, rewarmup_steps = 0, decay = 'constant', final_lr = 0 }
    for name, value in pairs(changes) do options[name] = value end
    return optim.learning_rate(options, total or 100)
  end

  it('is constant by default', function()
    local lr = rate {}
    for _, step in ipairs { 1, 50, 100, 1000 } do assert.equal(2, lr(step)) end
  end)

  it('rises linearly while it warms up', function()
    local lr = rate { warmup_steps = 4 }
    assert.same({ 0.5, 1, 1.5, 2, 2 }, { lr(1), lr(2), lr(3), lr(4), lr(5) })
  end)

  it('falls linearly', function()
    local lr = rate { decay = 'linear' }
    assert.near(2, lr(1), 1e-12)
    assert.near(1, lr(51), 1e-12)
    assert.near(0.02, lr(100), 1e-12)
    assert.equal(0, lr(101))
    assert.equal(0, lr(5000))
  end)

  it('falls in the last updates only, if so many are given', function()
    local lr = rate { decay = 'linear', decay_steps = 20 }
    assert.same({ 2, 2, 2 }, { lr(1), lr(50), lr(81) })
    assert.near(1, lr(91), 1e-12)
    assert.near(0.1, lr(100), 1e-12)
    assert.near(1, rate { decay = 'linear', decay_steps = 500 }(51), 1e-12) -- never longer than the training
  end)

  it('falls along a cosine, to a final share', function()
    local lr = rate({ decay = 'cosine', final_lr = 0.1, warmup_steps = 20 }, 120)
    assert.near(2, lr(21), 1e-12)
    assert.near(2 * (0.1 + 0.9 * 0.5), lr(71), 1e-12)
    assert.near(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))), lr(46), 1e-12)
    assert.near(0.2, lr(121), 1e-12)
  end)

  it('never rises after the warm-up, and never falls below the final share', function()
    for _, decay in ipairs { 'constant', 'linear', 'cosine' } do
      local lr, before = rate { decay = decay, final_lr = 0.25, warmup_steps = 10 }, 2
      for step = 10, 130 do
        assert(lr(step) <= before + 1e-12 and lr(step) >= 0.5 - 1e-12)
        before = lr(step)
      end
    end
  end)

  it('warms up again after an optimizer reset', function()
    local lr = rate { rewarmup_steps = 4 }
    assert.same({ 0.5, 1, 1.5, 2, 2 }, { lr(50, 1), lr(51, 2), lr(52, 3), lr(53, 4), lr(54, 5) })
    assert.equal(2, lr(50, nil))
    assert.equal(2, rate {}(50, 1))
  end)

  it('is fine with a warm-up longer than the training', function()
    local lr = rate({ warmup_steps = 200, decay = 'cosine' }, 100)
    for step = 1, 100 do assert.near(step / 100, lr(step), 1e-12) end
  end)
end)

describe('clipping', function()
  it('clipping is as in PyTorch', function()
    assert.equal(1e-6 / 2e-6, optim.clip_scale(1e-6, 1e-6))
  end)
end)
