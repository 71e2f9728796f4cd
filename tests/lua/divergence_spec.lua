--- Losses and gradients that are no numbers: noticed at once, named, and dealt with as the recipe says.
local core = require 'icot.engine.core'
local divergence = require 'icot.training.divergence'
local expect = require 'tests.lua.support.expect'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local training = require 'icot.training'

-- Trains with a learning rate that no model survives.
local function train_wildly(policy, more)
  local notes = {}
  local settings = { 'checkpoint.every_steps=3', 'divergence.policy=' .. policy, 'optimizer.lr=10' }
  for _, each in ipairs(more or {}) do settings[#settings + 1] = each end
  local ok, result, path = small.train {
    optimizer = ', clip = false, warmup_steps = 40', settings = settings,
    progress = setmetatable({ note = function(_, note) notes[#notes + 1] = note end }, { __index = small.silent }),
  }
  return ok, result, path, table.concat(notes, '\n')
end

describe('a training that diverges', function()
  after_each(temporary.clean)

  it('stops, with step, stage and what stands', function()
    local ok, problem, path = train_wildly('stop')
    assert.is_false(ok)
    expect.mentions(problem.message, 'training: the loss is', 'divergence.loss_above', 'at step', 'stage with',
                    'the checkpoint of step', '--resume')
    assert.equal('failed', small.read(path).attributes.end_state)
  end)

  it('goes back to the last checkpoint with a lower learning rate', function()
    local ok, result, path, notes = train_wildly('rollback', { 'divergence.lr_scale=0.001' })
    assert.is_true(ok, tostring(result))
    expect.mentions(notes, 'rolled back, with the learning rate scaled by 0.001')
    local file = small.read(path)
    assert.equal('finished', file.attributes.end_state)
    assert.same({ 10, 20, 30, 40 }, small.column(file.tables.train, 'step'))
    assert.equal('diverged', small.column(file.tables.segments, 'stopped_by')[2])
    expect.mentions(small.column(file.tables.segments, 'changes')[2], 'lr_scale: 0.001')
    assert.near(0.001 * 10, small.column(file.tables.train, 'lr')[4], 1e-12)
  end)

  it('goes back with a learning rate that is lower each time', function()
    local ok, _, path = train_wildly('rollback', { 'divergence.lr_scale=0.9', 'divergence.rollbacks=2' })
    assert.is_false(ok)
    local changes = small.column(small.read(path).tables.segments, 'changes')
    expect.mentions(changes[#changes], 'lr_scale: 0.81') -- 0.9 twice
  end)

  it('is given up when that does not help', function()
    local ok, problem = train_wildly('rollback', { 'divergence.lr_scale=1', 'divergence.rollbacks=2' })
    assert.is_false(ok)
    expect.mentions(problem.message, '2 rollbacks did not help')
  end)

  it('tells both when there is nothing to go back to', function()
    local folder = temporary.folder()
    local ok, problem = small.train {
      folder = folder, optimizer = ', clip = false, warmup_steps = 40',
      settings = { 'divergence.policy=rollback', 'optimizer.lr=10' },
      progress = setmetatable({
        update = function() os.execute(("rm -rf '%s/small/checkpoints'"):format(folder)) end,
      }, { __index = small.silent }),
    }
    assert.is_false(ok)
    expect.mentions(problem.message, 'the loss is', 'cannot roll back: ', 'there is no checkpoint in')
  end)

  it('leaves such updates out, and counts them', function()
    local ok, result, _, notes = train_wildly('continue', { 'divergence.loss_above=6' })
    assert.is_true(ok, tostring(result))
    expect.mentions(notes, 'skipped (1 skipped so far)')
    assert.equal(40, result.updates)
  end)
end)

describe('a loss that is too high', function()
  local function of_loss(loss, squared_error, loss_above)
    return divergence.of_loss({
      model = { squared_error = squared_error }, config = { divergence = { loss_above = loss_above } },
      data = { vocabulary = { size = 16 } },
    }, loss)
  end

  it('is ten times that of guessing, or what the recipe says; of squared errors only the latter', function()
    assert.is_nil(of_loss(27.7))
    expect.mentions(of_loss(27.8), 'the loss is 27.8, above 27.7259 (divergence.loss_above)')
    expect.mentions(of_loss(3, false, 2), 'above 2 ')
    assert.is_nil(of_loss(1e6, true))
    expect.mentions(of_loss(3, true, 2), 'above 2 ')
    expect.mentions(of_loss(0 / 0, true), 'the loss is')
  end)
end)

describe('what stopped being a number', function()
  local self

  before_each(function()
    self = training.new(small.run { model = ', dropout = 0.1' })
    self.planned = 0
  end)

  after_each(function()
    self:free()
    temporary.clean()
  end)

  local function fill(tensor, value) core.check(core.C.icot_tensor_fill(core.engine(), tensor.handle, value)) end

  local function message_of_update()
    local ok, problem = pcall(self.update, self, 0)
    assert.is_false(ok)
    return problem.message
  end

  it('is named when it is a parameter', function()
    fill(self.model.transformer.h[1].mlp.c_fc.bias, 0 / 0)
    expect.mentions(message_of_update(), 'first in the parameter transformer.h.0.mlp.c_fc.bias')
    assert.is_false(divergence.has_finite_parameters(self.model))
  end)

  it('is named when it comes out of a layer', function()
    fill(self.model.transformer.h[1].mlp.c_fc.weight, 3e38)
    expect.mentions(message_of_update(), 'first in the output of transformer.h.0')
  end)

  it('leaves the parameters and gradients as they were', function()
    local weight = self.model.transformer.wte.weight
    local before = weight:totable()
    fill(self.model.transformer.ln_f.bias, 1 / 0)
    message_of_update()
    assert.same(before, weight:totable())
    fill(self.model.transformer.ln_f.bias, 0)
    self:update(0)
    assert.equal(1, self.state.step)
  end)
end)
