--- icot.study.run_queue and icot.study.memory_budget: which run of a study may start when.
local memory_budget = require 'icot.study.memory_budget'
local run_queue = require 'icot.study.run_queue'

describe('the queue of a study', function()
  it('has the order of the recipe', function()
    local queue, taken = run_queue.new { {}, {}, {} }, {}
    while queue:next() do
      taken[#taken + 1] = queue:next()
      queue:take(queue:next())
    end
    assert.same({ 1, 2, 3 }, taken)
  end)

  it('lets a run wait for another one, and gives it the budget', function()
    local function waiting()
      return { waits_for = { { number = 2 } }, match = { what = 'updates', of = { 2 } },
               config = { train = { epochs = 3 } } }
    end
    local queue = run_queue.new { waiting(), {}, waiting() }
    assert.equal(2, queue:next())
    queue:take(2)
    assert.is_nil(queue:next())
    queue:finish(2, { status = 'finished', updates = 70 })
    assert.equal(1, queue:next())
    assert.same({ steps = 70 }, queue:take(1).config.train)
    assert.same({ epochs = 3 }, queue.runs[1].config.train) -- the recipe's run stays as it is
    assert.equal(3, queue:next())
  end)

  it('does not start a run whose other one has not ended, and says how that ended', function()
    local function taken(status)
      local runs = {
        { arm = 'a', seed = 1 },
        { waits_for = { { number = 1, why = 'match' } }, match = { what = 'tokens', of = { 1 } } },
        { waits_for = { { number = 1, why = 'model' } } },
      }
      local queue = run_queue.new(runs)
      queue:take(1)
      queue:finish(1, { status = status })
      return select(2, queue:take(2)), select(2, queue:take(3))
    end
    local matching, chained = taken('failed')
    assert.same({ status = 'failed', message = 'not started: it was to match the tokens of a seed 1, which failed' },
                matching)
    assert.same({ status = 'failed', message = 'not started: it needs the model of a seed 1, which failed' }, chained)
    assert.same({ status = 'interrupted',
                  message = 'not started: it was to match the tokens of a seed 1, which was interrupted' },
                (taken('interrupted')))
  end)
end)

describe('the memory budget of a study', function()
  local available
  local function new(limit) return memory_budget.new(limit, function() return available end) end

  it('lets the first run start, whatever there is', function()
    available = 1
    assert.is_true(new(1):allows_another {})
  end)

  it('waits until the first one has shown what it takes', function()
    available = 1000
    local budget = new()
    assert.is_false(budget:allows_another { 100 })
    budget:note_peak(300)
    assert.is_true(budget:allows_another { 100 })
  end)

  it('leaves those under way what they may still take', function()
    local budget = new()
    budget:note_peak(300)
    budget:note_peak(200) -- does not make it less
    available = 499
    assert.is_false(budget:allows_another { 100 }) -- 200 are still to come, 300 wanted
    available = 500
    assert.is_true(budget:allows_another { 100 })
    assert.is_false(budget:allows_another { 100, 299 })
  end)

  it('keeps to a limit for all together', function()
    available = 1e9
    local budget = new(900)
    budget:note_peak(300)
    assert.is_true(budget:allows_another { 100, 100 })
    assert.is_false(budget:allows_another { 100, 301 })
    assert.is_false(budget:allows_another { 100, 100, 100 })
  end)
end)
