--- Removal schedules: their formulas, and what is said to a schedule that misbehaves.
local errors = require 'icot.base.errors'
local expect = require 'tests.lua.support.expect'
local schedule = require 'icot.schedule'

local info = { steps_per_epoch = 100, total_steps = 5000, max_cot = 20 }

local function of(fields, method)
  fields.power = fields.power or 2
  return schedule.of({ method = method or 'icot', schedule = fields }, info)
end

local function at(fn, step) return fn { step = step, removed = 0 } end

-- s at each of these steps
local function values(fn, steps)
  local list = {}
  for i, step in ipairs(steps) do list[i] = at(fn, step) end
  return list
end

describe('the schedule through points', function()
  it('removes what lies on the lines between them', function()
    local fn = of { kind = 'points', points = { { 100, 0 }, { 200, 10 }, { 240, 12 }, { 300, 12 } } }
    assert.same({ 0, 0, 0, 1, 5, 9, 10, 10, 11, 12, 12, 12 },
                values(fn, { 0, 100, 109, 110, 150, 199, 200, 219, 220, 240, 299, 5000 }))
  end)

  it('jumps to a first point that removes something, and keeps what the last one says', function()
    assert.same({ 0, 3, 3 }, values(of { kind = 'points', points = { { 10, 3 } } }, { 9, 10, 4000 }))
  end)

  it('refuses points that are none, or out of order', function()
    local function problem(list) return schedule.kinds.points.check { points = list } end
    assert.is_nil(problem { { 0, 0 }, { 1, 0 }, { 2, 7 } })
    expect.mentions(problem {}, 'got none')
    expect.mentions(problem { { 0, 0 }, { 1 } }, 'points[2]', 'got 1 numbers')
    expect.mentions(problem { { 5, 0 }, { 5, 1 } }, 'points[2]', 'update 5 comes after update 5')
    expect.mentions(problem { { 0, 4 }, { 9, 3 } }, 'points[2]', 'got 3 removed after 4')
  end)
end)

describe('the linear schedule', function()
  it('is s(t) = floor(Δ·t/T)', function()
    for _, delta in ipairs { 1, 8, 16, 0.5, 7 } do
      local fn = of { kind = 'linear', tokens_per_epoch = delta }
      for step = 0, 1000 do assert.equal(math.floor(delta * step / 100 + 1e-9), at(fn, step)) end
    end
  end)

  it('removes a token exactly when its time has come, whatever the rounding', function()
    for _, steps in ipairs { 3, 7, 49, 80 } do
      local fn = of { kind = 'linear', steps_per_token = steps }
      for token = 1, 200 do
        assert.same({ token - 1, token }, values(fn, { steps * token - 1, steps * token }))
      end
    end
  end)

  it('begins after the explicit phase', function()
    local fn = of { kind = 'linear', steps_per_token = 10, explicit_steps = 55 }
    assert.same({ 0, 0, 0, 0, 1, 2 }, values(fn, { 0, 10, 55, 64, 65, 75 }))
    fn = of { kind = 'linear', tokens_per_epoch = 10, explicit_epochs = 1.5 }
    assert.same({ 0, 0, 0, 1, 5 }, values(fn, { 0, 150, 159, 160, 200 }))
  end)
end)

describe('curved schedules', function()
  it('remove everything in the time they are given', function()
    for _, kind in ipairs { 'front_loaded', 'back_loaded', 'cosine' } do
      for _, time in ipairs { { duration_steps = 300 }, { duration_epochs = 3 } } do
        local fn = of { kind = kind, duration_steps = time.duration_steps, duration_epochs = time.duration_epochs }
        assert.same({ 0, 20, 20 }, values(fn, { 0, 300, 4000 }))
        assert(at(fn, 299) < 20 or kind == 'front_loaded')
      end
    end
  end)

  it('follow their formulas', function()
    local front = of { kind = 'front_loaded', duration_steps = 200, power = 3 }
    local back = of { kind = 'back_loaded', duration_steps = 200, power = 3 }
    for step = 0, 200 do
      local t = step / 200
      assert.equal(math.floor(20 * (1 - (1 - t) ^ 3) + 1e-9), at(front, step))
      assert.equal(math.floor(20 * t ^ 3 + 1e-9), at(back, step))
      assert(at(front, step) >= at(back, step))
    end
    assert.same({ 17, 2 }, { at(front, 100), at(back, 100) })
  end)

  it('are linear with power 1, never fall, and wait for the explicit phase', function()
    local straight = of { kind = 'back_loaded', duration_steps = 200, power = 1 }
    assert.same({ 0, 5, 10, 15, 20 }, values(straight, { 0, 50, 100, 150, 200 }))
    for _, kind in ipairs { 'front_loaded', 'back_loaded' } do
      local fn, before = of { kind = kind, duration_steps = 70, explicit_steps = 30 }, 0
      for step = 0, 120 do
        assert(at(fn, step) >= before and (step > 30 or at(fn, step) == 0))
        before = at(fn, step)
      end
      assert.equal(20, before)
    end
  end)
end)

describe('the cosine schedule', function()
  it('is m·(1 - cos(π·t))/2', function()
    local fn = of { kind = 'cosine', duration_steps = 200, explicit_steps = 10 }
    for step = 0, 200 do
      assert.equal(math.floor(20 * (1 - math.cos(math.pi * step / 200)) / 2 + 1e-9), at(fn, step + 10))
    end
    assert.same({ 0, 10, 20 }, values(fn, { 5, 110, 4000 }))
  end)
end)

describe('the geometric schedule', function()
  local function stages_of(max_cot, share)
    local fn = schedule.of({ method = 'icot', schedule = { kind = 'geometric', steps_per_stage = 10, share = share } },
                           { steps_per_epoch = 100, total_steps = 5000, max_cot = max_cot })
    local list = {}
    for stage = 0, 6 do list[stage + 1] = at(fn, 10 * stage) end
    return list, fn
  end

  it('halves what is left, rounded up, until nothing is', function()
    assert.same({ 0, 12, 18, 21, 23, 24, 24 }, (stages_of(24, 0.5)))
    assert.same({ 0, 8, 12, 14, 15, 15, 15 }, (stages_of(15, 0.5)))
    assert.same({ 0, 1, 1, 1, 1, 1, 1 }, (stages_of(1, 0.5)))
    assert.same({ 0, 0, 0, 0, 0, 0, 0 }, (stages_of(0, 0.5)))
    assert.equal(7, (stages_of(100, 0.07))[2]) -- 0.07 * 100 is a little more than 7
  end)

  it('takes ⌊log2(m)⌋ + 1 stages for any m', function()
    for m = 1, 300 do
      local fn = schedule.of({ method = 'icot', schedule = { kind = 'geometric', steps_per_stage = 1, share = 0.5 } },
                             { steps_per_epoch = 100, total_steps = 5000, max_cot = m })
      local stages = math.floor(math.log(m) / math.log(2) + 1e-9) + 1
      assert(at(fn, stages - 1) < m)
      assert.equal(m, at(fn, stages))
    end
  end)

  it('removes other shares, too, and keeps to its time', function()
    local list, fn = stages_of(8, 0.25)
    assert.same({ 0, 2, 4, 5, 6, 7, 8 }, list)
    assert.same({ 0, 2, 2, 4 }, values(fn, { 9, 10, 19, 20 }))
  end)
end)

describe('the schedule with slow last tokens', function()
  it('takes its time for each of them', function()
    local fn = of {
      kind = 'slow_last', duration_steps = 80, slow_tokens = 4, steps_per_token = 100, explicit_steps = 20,
    }
    assert.same({ 0, 0, 8, 16, 16, 17, 18, 20, 20 }, values(fn, { 0, 20, 60, 100, 199, 200, 300, 500, 900 }))
  end)

  it('is slow from the first on if all tokens are slow', function()
    local fn = of { kind = 'slow_last', duration_steps = 10, slow_tokens = 50, steps_per_token = 10 }
    assert.same({ 0, 0, 1, 20, 20 }, values(fn, { 0, 10, 20, 210, 900 }))
  end)
end)

describe('the gated schedule', function()
  -- Plays the part of a training that is evaluated every 10 steps; gives what is removed after each evaluation.
  local function play(options, accuracies)
    options.kind, options.metric = 'gated', options.metric or 'accuracy'
    local fn, list = of(options), {}
    local state = { step = 0, removed = 0, max_cot = 20, own = {} }
    local went_back = {}
    for i, accuracy in ipairs(accuracies) do
      for _ = 1, 10 do
        local removed, back = schedule.call(fn, state)
        if back then went_back[#went_back + 1] = i - 1 end
        state.removed, state.step = removed, state.step + 1
      end
      list[i] = state.removed
      state.accuracy, state.valid_loss, state.evaluated_step = accuracy, 1 - accuracy, state.step
    end
    return list, went_back
  end

  it('removes on when the validation passes, and once for each', function()
    local list = play({ tokens = 3, threshold = 0.9, patience = false }, { 0.95, 0.5, 0.89, 0.9, 1, 1, 1, 1, 1, 1, 1 })
    assert.same({ 0, 3, 3, 3, 6, 9, 12, 15, 18, 20, 20 }, list)
  end)

  it('may look at the loss', function()
    local list = play({ tokens = 1, threshold = 0.1, patience = false, metric = 'loss' }, { 0.85, 0.95, 0.9, 0.2, 0.2 })
    assert.same({ 0, 0, 1, 2, 2 }, list)
  end)

  it('waits for the explicit phase', function()
    local list = play({ tokens = 4, threshold = 0.5, patience = 2, explicit_steps = 30 }, { 1, 1, 1, 1, 1 })
    assert.same({ 0, 0, 0, 4, 8 }, list)
  end)

  it('takes no validation of the stage before for one of this stage', function()
    local fn = of { kind = 'gated', tokens = 1, threshold = 0.9, patience = false, explicit_steps = 15 }
    local state, removals = { step = 0, removed = 0, max_cot = 20, own = {}, accuracy = 1 }, {}
    for step = 0, 34 do
      state.step = step
      if step > 0 and step % 10 == 0 then state.evaluated_step = step end
      local removed = schedule.call(fn, state)
      if removed > 0 and state.removed == 0 then state.evaluated_step = step end -- with all CoT, as a training does
      if removed > state.removed then removals[#removals + 1] = step end
      state.removed = removed
    end
    assert.same({ 15, 20, 30 }, removals)
  end)

  it('takes no validation from before it was first asked, as in a fork', function()
    local fn = of { kind = 'gated', tokens = 2, threshold = 0.9, metric = 'accuracy', patience = false }
    local state = { step = 70, removed = 4, max_cot = 20, own = {}, accuracy = 1, evaluated_step = 50 }
    assert.equal(4, (schedule.call(fn, state)))
    state.step, state.evaluated_step = 75, 75
    assert.equal(6, (schedule.call(fn, state)))
  end)

  it('does not take a loss that is no number for one that passes', function()
    local fn = of { kind = 'gated', tokens = 1, threshold = 0.9, metric = 'loss', patience = false }
    local state = { step = 10, removed = 0, max_cot = 20, own = {}, accuracy = 1, evaluated_step = 10 }
    assert.equal(0, (schedule.call(fn, state)))
  end)

  it('goes back to the last good stage with half as many tokens when a stage has lost patience', function()
    local list, back = play({ tokens = 5, threshold = 0.9, patience = 2 },
                            { 1, 1, 0.1, 0.2, 1, 0.1, 0.1, 1, 0, 0, 0, 0 })
    assert.same({ 0, 5, 10, 10, 5, 7, 7, 5, 6, 6, 6, 6 }, list)
    assert.same({ 4, 7 }, back)
  end)

  it('does not go back before anything was good', function()
    local list, back = play({ tokens = 4, threshold = 0.9, patience = 1 }, { 0, 0, 0, 1, 1 })
    assert.same({ { 0, 0, 0, 0, 4 }, {} }, { list, back })
  end)
end)

describe('the method', function()
  it('decides where it must', function()
    assert.equal(math.huge, at(of({ kind = 'linear', steps_per_token = 1 }, 'no_cot'), 0))
    assert.equal(0, at(of({ kind = 'linear', steps_per_token = 1 }, 'explicit_cot'), 1000))
    local own = function() return 3 end
    assert.equal(own, schedule.of({ method = 'icot', schedule = own }, info))
  end)
end)

describe('a schedule of one\'s own', function()
  local function call(returned, before, wish)
    local state = { step = 7, removed = before or 0, max_cot = 20, own = {} }
    return schedule.call(function() return returned, wish end, state)
  end

  it('is rounded down, and may remove everything', function()
    assert.equal(3, call(3.99))
    assert.equal(0, call(0))
    assert.equal(20, call(math.huge))
    assert.equal(20, call(25, 20)) -- neither rises nor falls any more
    assert.equal(3, call(3, 3))
  end)

  it('may go back, if it says so', function()
    assert.same({ 3, false }, { call(3.5, 2) })
    assert.same({ 2, true }, { call(2, 5, 'rollback') })
  end)

  it('sees the state of training', function()
    local state = { step = 12, removed = 2, accuracy = 0.9, max_cot = 20, own = {} }
    assert.equal(4, schedule.call(function(seen) return seen.accuracy > 0.8 and seen.removed + 2 or 0 end, state))
  end)

  it('is told what is wrong with it, and when', function()
    local cases = {
      { nil, 'schedule: at step 7 it returned nil, expected a number of tokens' },
      { 0 / 0, 'schedule: at step 7 it returned NaN, expected a number' },
      { -1, 'schedule: at step 7 it returned -1, expected 0 or more' },
      { -math.huge, 'schedule: at step 7 it returned -inf, expected 0 or more' },
      { '5', 'schedule: at step 7 it returned a string, expected a number of tokens' },
      { {}, 'schedule: at step 7 it returned a table, expected a number of tokens' },
      { true, 'schedule: at step 7 it returned a boolean, expected a number of tokens' },
      { 2, 'schedule: at step 7 it returned 2 after 5; it must not fall', 5 },
      { 5, "schedule: at step 7 it returned 5 and 'rollback' after 5; it can only go back to fewer", 5, 'rollback' },
      { 5, "schedule: at step 7 its second value is 'back', expected 'rollback' or none", 5, 'back' },
    }
    for _, case in ipairs(cases) do assert.equal(case[2], expect.user_error(call, case[1], case[3], case[4])) end
  end)

  it('that raises is named, with its reason on one line', function()
    local function raising() error('no such\nthing') end
    local message = expect.user_error(schedule.call, raising, { step = 7, removed = 0, max_cot = 20, own = {} })
    expect.mentions(message, 'schedule: at step 7 the function raised an error: ', 'no such')
    local function index_nil(state) return state.own.nothing.at_all end
    local state = { step = 0, removed = 0, accuracy = 1, max_cot = 20, own = {} }
    message = expect.user_error(schedule.call, index_nil, state)
    expect.mentions(message, 'nothing', 'schedule_spec')
    assert.is_nil(message:find('validation', 1, true))
    local function user_error() errors.raise('a message of its own') end
    message = expect.user_error(schedule.call, user_error, { step = 7, removed = 0, max_cot = 20, own = {} })
    assert.equal('a message of its own', message)
  end)

  it('is told what may be nil, and what does not exist', function()
    local state = { step = 3, removed = 0, max_cot = 20, own = {} }
    local function early(seen) return seen.accuracy > 0.5 and 1 or 0 end
    expect.mentions(expect.user_error(schedule.call, early, state), 'compare',
                    '(accuracy, valid_loss and evaluated_step are nil before the first validation)')
    local function at_once(seen) return seen.loss > 1 and 1 or 0 end
    expect.mentions(expect.user_error(schedule.call, at_once, { step = 0, removed = 0, max_cot = 20, own = {} }),
                    'before the first validation, loss before the first update)')
    local function misspelt(seen) return seen.acuracy or 0 end
    assert.equal('schedule: at step 3 it asked for state.acuracy, which does not exist; did you mean accuracy?',
                 expect.user_error(schedule.call, misspelt, state))
    local function patient(seen) return seen.valid_loss or seen.loss or seen.evaluated_step or 0 end
    assert.equal(0, schedule.call(patient, state))
  end)

  it('keeps in state.own only what a checkpoint can hold', function()
    local function keep(value)
      return function(state)
        state.own.kept = value
        return 0
      end
    end
    local state = { step = 3, removed = 0, max_cot = 20, own = {} }
    assert.equal(0, schedule.call(keep { 1, 2, { a = 'b' } }, state))
    assert.same({ 1, 2, { a = 'b' } }, state.own.kept)
    local function replace(value)
      return function(seen)
        seen.own = value
        return 0
      end
    end
    schedule.call(replace { other = 5 }, state)
    assert.same({ other = 5 }, state.own)
    expect.mentions(expect.user_error(schedule.call, replace(3), state), 'state.own is a number')
    assert.same({ other = 5 }, state.own)
    expect.mentions(expect.user_error(schedule.call, keep(print), state),
                    'schedule: at step 3 state.own.kept is a function, which a checkpoint cannot hold')
  end)
end)
