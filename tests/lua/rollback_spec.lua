--- A schedule that goes back: parameters of the end of an earlier stage, and everything as it was when it is resumed.
local checkpoint = require 'icot.saved.checkpoint'
local expect = require 'tests.lua.support.expect'
local errors = require 'icot.base.errors'
local run_paths = require 'icot.results.run_paths'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local training = require 'icot.training'

-- 2 tokens from step 8 on, 5 from step 16 on; at step 24 back to 2, and on with 3 from step 30 on.
local back_once = [[function(state)
  local step = state.step
  if STOP and step == STOP then error('stopped') end
  if step == 24 then return 2, 'rollback' end
  return step < 8 and 0 or step < 16 and 2 or step < 24 and 5 or step < 30 and 2 or 3
end]]

local function train(folder, changes, options, stop)
  rawset(_G, 'STOP', stop)
  local given = { folder = folder, schedule = back_once, settings = { 'checkpoint.every_steps=5' } }
  for name, value in pairs(changes or {}) do given[name] = value end
  local ok, result, path = small.train(given, options)
  rawset(_G, 'STOP', nil)
  return ok, result, path
end

local function events_of(path)
  local rows = {}
  for i, row in ipairs(small.read(path).tables.events.rows) do rows[i] = { row[1], row[2], row[3], row[4] } end
  return rows
end

describe('a rollback', function()
  after_each(temporary.clean)

  it('is logged, as are the removals and what became of the moments', function()
    local ok, result, path = train(temporary.folder())
    assert(ok, result)
    assert.equal(3, result.removed)
    assert.same({
      { 8, 'removal', 2, 'reset all' }, { 16, 'removal', 5, 'reset all' },
      { 24, 'rollback', 2, 'from 5 removed to the end of that stage, step 16' }, { 30, 'removal', 3, 'reset all' },
    }, events_of(path))
    local removed = small.column(small.read(path).tables.train, 'removed')
    assert.same({ 2, 5, 2, 3 }, removed)
  end)

  it('takes the parameters back to the end of the stage', function()
    local settings = { 'checkpoint.every_steps=12', 'checkpoint.keep.last=100' }
    local _, _, path = train(temporary.folder(), { settings = settings }, nil, 25) -- a run that fails keeps them
    local function model_at(step)
      return assert(temporary.read(checkpoint.path(run_paths.checkpoint_folder(path), step) .. '/model.safetensors'))
    end
    assert(model_at(16) == model_at(24), 'other parameters') -- written after the rollback, before the update
    assert(model_at(16) ~= model_at(12), 'nothing was learned before')
  end)

  it('comes out the same when the run is resumed, before it or after it', function()
    local in_bf16 = { settings = { 'checkpoint.every_steps=5', 'precision=bf16' } } -- weights have a rounded form, too
    local _, whole, path = train(temporary.folder(), in_bf16)
    local expected = small.model_bytes(path)
    for _, stop in ipairs { 23, 27, 32 } do
      local folder = temporary.folder()
      local ok = train(folder, in_bf16, nil, stop)
      assert.is_false(ok)
      local resumed, result, resumed_path = train(folder, in_bf16, { resume = true })
      assert(resumed, result)
      assert.equal(whole.accuracy, result.accuracy)
      assert(expected == small.model_bytes(resumed_path), 'other parameters')
      assert.same(events_of(path), events_of(resumed_path))
    end
  end)

  it('forgets what was best in the stage that it gives up', function()
    local back_at_validation = [[function(state)
      if state.step == 20 then return 0, 'rollback' end
      return state.step < 10 and 0 or state.step < 20 and 2 or state.step < 30 and 0 or 1
    end]]
    local ok, result, path = train(temporary.folder(), {
      schedule = back_at_validation, settings = { 'train.evaluate_every=10', 'checkpoint.every_steps=5' },
    })
    assert(ok, result)
    local best = checkpoint.read_description(checkpoint.list(run_paths.checkpoint_folder(path))[1].path)
    local last = checkpoint.list(run_paths.checkpoint_folder(path))
    last = checkpoint.read_description(last[#last].path)
    assert.equal(1, last.best.removed)
    assert.is_nil(best.kept_for.best and best.best.removed == 2 or nil)
    local resets = small.column(small.read(path).tables.train, 'optimizer_reset')
    assert.same({ false, true, true, true }, resets) -- at the removals, and at the rollback
  end)

  it('needs the checkpoint of that stage end', function()
    local ok, problem = train(temporary.folder(), { schedule = [[function(state)
      if state.step == 20 then return 1, 'rollback' end
      return state.step < 8 and 0 or 2
    end]] })
    assert.is_false(ok)
    assert(errors.is_user_error(problem))
    expect.mentions(errors.describe(problem), 'schedule: at step 20', 'stage with 1 token removed', 'keep.stages')
  end)

end)

describe('the gated schedule', function()
  after_each(temporary.clean)

  it('is shown each validation, and removes on after those that pass', function()
    local ok, result, path = small.train {
      schedule = "{ kind = 'gated', tokens = 4, metric = 'loss', threshold = 2.4, patience = 2 }",
      settings = { 'train.evaluate_every=3', 'optimizer.lr=3e-3' },
    }
    assert(ok, result)
    local evaluations, expected = small.read(path).tables.eval, {}
    local steps, losses = small.column(evaluations, 'step'), small.column(evaluations, 'loss')
    for i, step in ipairs(steps) do
      local passes = losses[i] <= 2.4 and #expected < 2
      if passes then expected[#expected + 1] = { step, 'removal', 4 * (#expected + 1), 'reset all' } end
    end
    assert.equal(2, #expected)
    assert.same(expected, events_of(path))
  end)

  it('needs the ends of stages, if it may go back', function()
    local gated = "{ kind = 'gated', tokens = 4, metric = 'loss', threshold = 2.4, patience = %s }"
    local without = { 'checkpoint.keep.stages=0' }
    local problem = expect.user_error(small.run, { schedule = gated:format('2'), settings = without })
    expect.mentions(problem, "checkpoint.keep.stages: got 0, but the schedule 'gated' goes back", 'schedule.patience')
    assert.equal(0, small.run({ schedule = gated:format('false'), settings = without }).config.checkpoint.keep.stages)
  end)
end)

describe('a rollback', function()
  after_each(temporary.clean)

  it('a rollback brings back what was lost', function()
    local ok, result = small.train {
      schedule = [[function(state)
        if state.step == 12 then return 0, 'rollback' end
        return state.step < 8 and 0 or state.step < 12 and 8 or state.step < 14 and 0 or 8
      end]],
      settings = { 'train.steps=18', 'train.evaluate_every=5', 'checkpoint.keep.stages=all',
                   'train.stop_on_collapse={"below":1,"evaluations":3}' },
    }
    assert(ok, result)
    assert.equal('finished', result.status) -- collapsed at 10, then at 15 and 18
  end)

  it('a rollback goes to the newest end of that stage', function()
    local ok, result, path = small.train {
      schedule = [[function(state)
        local step = state.step
        if step == 24 or step == 36 then return 2, 'rollback' end
        return step < 8 and 0 or step < 16 and 2 or step < 24 and 5 or step < 30 and 2 or step < 36 and 3 or 2
      end]], settings = { 'checkpoint.keep.stages=all' },
    }
    assert(ok, result)
    local rows = small.read(path).tables.events.rows
    assert.equal('from 3 removed to the end of that stage, step 30', rows[#rows][4])
  end)

  it('a rollback begins with zero moments, and warms up again', function()
    local new, seen, trained = training.new, {}, nil
    training.new = function(...)
      trained = new(...)
      return trained
    end
    rawset(_G, 'LOOK', function(step)
      if step == 25 then seen = { trained.optimizer.updates, trained.optimizer.updates_sq, trained.last_reset } end
    end)
    local ok, result = small.train {
      schedule = [[function(state)
        LOOK(state.step)
        if state.step == 24 then return 2, 'rollback' end
        return state.step < 8 and 0 or state.step < 16 and 2 or state.step < 24 and 5 or 2
      end]], settings = { 'train.steps=26' },
    }
    training.new = new
    rawset(_G, 'LOOK', nil)
    assert(ok, result)
    assert.same({ 1, 1, 24 }, seen)
  end)
end)
