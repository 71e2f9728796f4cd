--- Trainings from beginning to end, small enough to take a second: what the run file says of them.
local errors = require 'icot.base.errors'
local expect = require 'tests.lua.support.expect'
local lfs = require 'lfs'
local program = require 'tests.lua.support.program'
local recipe = require 'icot.recipe'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local training = require 'icot.training'
local core = require 'icot.engine.core'
local evaluate = require 'icot.training.evaluate'

local column, read, silent, train = small.column, small.read, small.silent, small.train

describe('a training', function()
  after_each(temporary.clean)

  it('logs every interval, and what the schedule removed', function()
    local ok, result, path = train {}
    assert.is_true(ok, tostring(result))
    local file = read(path)
    assert.equal('finished', file.attributes.end_state)
    assert.same({ 10, 20, 30, 40 }, column(file.tables.train, 'step'))
    -- two digits have a CoT of 3 + 1 + 4 = 8 tokens; update t (from 1) is made with floor((t - 13)/2) removed
    assert.same({ 0, 3, 8, 8 }, column(file.tables.train, 'removed'))
    assert.same({ false, true, true, false }, column(file.tables.train, 'optimizer_reset'))
    assert.equal(40, result.updates)
    assert.equal(8, result.removed)
    assert.equal(result.tokens, column(file.tables.train, 'tokens')[4])
  end)

  it('keeps all CoT with explicit_cot, whatever the recipe says of offsets', function()
    local ok, result = train { settings = { 'method=explicit_cot', 'removal.smoothing=0.01' } }
    assert.is_true(ok, tostring(result))
    assert.equal(40 * 20 * 21, result.tokens) -- updates, examples, tokens of each
  end)

  it('begins a new stage only where more is removed than before', function()
    local function events(settings)
      settings[#settings + 1] = 'schedule={"kind":"linear","steps_per_token":2,"explicit_steps":12}'
      settings[#settings + 1] = 'checkpoint.keep.stages=all'
      local ok, result, path = train { settings = settings }
      assert.is_true(ok, tostring(result))
      local rows = read(path).tables.events
      return column(rows, 'step'), column(rows, 'removed'), result.removed
    end
    -- a replayed example still has CoT when all of it is gone
    local steps, removed = events { 'removal.replay=0.5' }
    assert.same({ 14, 16, 18, 20, 22, 24, 26, 28 }, steps)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, removed)
    -- from three tokens on all of them go
    local all
    steps, removed, all = events { 'removal.remove_all_beyond=3' }
    assert.same({ { 14, 16, 18 }, { 1, 2, 8 }, 8 }, { steps, removed, all })
  end)

  it('draws offsets from the update on that the recipe says', function()
    local ok, result, path = train { schedule = "{ kind = 'linear', steps_per_token = 1, explicit_steps = 100 }",
      settings = { 'removal.smoothing=0.01', 'removal.smoothing_after=20' } }
    assert.is_true(ok, tostring(result))
    local tokens = column(read(path).tables.train, 'tokens')
    -- 20 examples of 5 + 8 + 4 tokens and four separators; with so small a λ nearly all CoT tokens go
    local whole, answer_only = 20 * 21, 20 * 13
    assert.same({ 10 * whole, 20 * whole }, { tokens[1], tokens[2] })
    assert(tokens[4] - tokens[2] < 20 * (answer_only + 0.1 * (whole - answer_only)))
  end)

  it('draws the first offset after as many updates as the recipe says', function()
    local ok, result, path = train { schedule = "{ kind = 'linear', steps_per_token = 1, explicit_steps = 100 }",
      settings = { 'removal.smoothing=0.01', 'removal.smoothing_after=5', 'train.log_every=1', 'train.steps=6' } }
    assert.is_true(ok, tostring(result))
    local tokens, whole = column(read(path).tables.train, 'tokens'), 20 * 21
    assert.equal(5 * whole, tokens[5])
    assert(tokens[6] - tokens[5] < whole)
  end)

  it('refuses at once a model that the machine can never hold', function()
    local started = os.clock()
    local ok, problem = train { settings = { 'model.layers=900', 'model.width=65536', 'model.heads=1' } }
    assert.is_false(ok)
    expect.mentions(problem.message, 'model: 4.64e+13 parameters alone take', 'and this machine has',
                    'a smaller model.width')
    assert(os.clock() - started < 20)
  end)

  it('replays also before the first offset', function()
    local ok, result, path = train { schedule = 'function() return math.huge end',
      settings = { 'removal.replay=0.5', 'removal.smoothing_after=100', 'train.log_every=10' } }
    assert.is_true(ok, tostring(result))
    local tokens = column(read(path).tables.train, 'tokens')
    -- an example without CoT has 13 tokens: five, four of the answer, and four separators
    assert(tokens[4] > 40 * 20 * 13)
  end)

  it('evaluates on time, just before the first removal, and at the end on the test examples', function()
    local ok, result, path = train {}
    assert.is_true(ok, tostring(result))
    local eval = read(path).tables.eval
    assert.same({ 14, 15, 30, 40, 40 }, column(eval, 'step'))
    assert.same({ 'valid', 'valid', 'valid', 'valid', 'test' }, column(eval, 'split'))
    assert.equal(result.accuracy, column(eval, 'accuracy')[5])
    assert.equal(result.explicit_accuracy, column(eval, 'accuracy')[1])
  end)

  it('evaluates splits out of distribution at its end, longer ones too', function()
    local ok, result, path = train { settings = {
      'dataset.ood.longer={"digits":[3,2],"examples":12}', 'dataset.ood.carries={"chain":2,"examples":9}',
      'checkpoint.every_steps=20' } }
    assert.is_true(ok, tostring(result))
    local file = read(path)
    local eval = file.tables.eval
    assert.same({ 'valid', 'valid', 'valid', 'valid', 'test', 'longer', 'carries' }, column(eval, 'split'))
    assert.equal(result.accuracy, column(eval, 'accuracy')[5])
    assert.equal(8, file.attributes.max_cot)
    assert.equal(5, #file.tables.eval_positions.rows[1]) -- the longest answer: 3 x 2 digits
    assert.same({ 40, 8 }, { column(eval, 'step')[6], column(eval, 'removed')[6] })
    assert.equal('longest carry chain', file.attributes.grouped_by)
    local groups, examples = file.tables.eval_groups, {}
    for i, split in ipairs(column(groups, 'split')) do
      if split ~= 'valid' then examples[split] = (examples[split] or 0) + column(groups, 'examples')[i] end
      if split == 'carries' then assert.equal('2', column(groups, 'group')[i]) end
    end
    assert.same({ test = 25, longer = 12, carries = 9 }, examples)
    -- the run is whole, and can be resumed
    assert.is_true((train({ folder = path:match('^(.*)/'), settings = {
      'dataset.ood.longer={"digits":[3,2],"examples":12}', 'dataset.ood.carries={"chain":2,"examples":9}',
      'checkpoint.every_steps=20' } }, { resume = true })))

    local shown = program.run { 'eval', path, '--split', 'longer' }
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.out, '12 of longer', 'by longest carry chain\n  0 ')
    shown = program.run { 'eval', path, '--split', 'longr' }
    assert.equal(1, shown.code)
    expect.mentions(shown.err, "multiplication has no split 'longr'; did you mean longer?")
  end)

  it('gives the same bits for the same seed, dropout included, and others for another', function()
    local runs = {}
    for i, seed in ipairs { 3, 3, 4 } do
      local ok, result, path = train { model = ', dropout = 0.1', settings = { 'seed=' .. seed } }
      assert.is_true(ok, tostring(result))
      runs[i] = column(read(path).tables.train, 'loss')
    end
    assert.same(runs[1], runs[2])
    assert.is_not.same(runs[1], runs[3])
  end)

  it('drops something else in each update', function()
    local self, steps = training.new(small.run { model = ', dropout = 0.1' }), {}
    local loss = self.model.loss
    self.model.loss = function(model, part, dropout, ...)
      steps[#steps + 1] = dropout.step
      return loss(model, part, dropout, ...)
    end
    for _ = 1, 3 do self:update(0) end
    self:free()
    assert.same({ 0, 1, 2 }, steps)
  end)

  it('begins no stage with its first update', function()
    local ok, result, path = train { schedule = 'function() return 2 end' }
    assert.is_true(ok, tostring(result))
    assert.same({}, read(path).tables.events.rows)
  end)

  it('says how much CoT its schedule leaves in the end, if it is known to leave some', function()
    local function notes(changes)
      local told = {}
      changes.progress = setmetatable({ note = function(_, text) told[#told + 1] = text end }, { __index = silent })
      local ok, result = train(changes)
      assert.is_true(ok, tostring(result))
      return table.concat(told, '\n')
    end
    local less = { settings = { 'schedule.steps_per_token=5' } } -- of 8 tokens; the last update is made after 39
    expect.mentions(notes(less), 'schedule: at the end, after 40 updates, 5 of 8 CoT tokens will be removed')
    for _, quiet in ipairs {
      {}, { schedule = 'function() return 0 end' }, { schedule = "{ kind = 'gated', threshold = 1 }" },
    } do
      assert.is_nil(notes(quiet):find('at the end', 1, true))
    end
  end)

  it('refuses to wait for validations that cannot be', function()
    local ok, problem = train { schedule = "{ kind = 'gated', threshold = 0.9 }", settings = { 'dataset.valid=0' } }
    assert.is_false(ok)
    expect.mentions(problem.message, "'gated' waits for validations", 'no validation examples')
  end)

  it('keeps the moments where the recipe says so', function()
    local ok, result, path = train { optimizer = ", reset = 'keep'" }
    assert.is_true(ok, tostring(result))
    assert.same({ false, false, false, false }, column(read(path).tables.train, 'optimizer_reset'))
  end)

  it('marks its run file failed when the schedule misbehaves, and says why', function()
    for body, message in pairs {
      ['state.step < 20 and 1 or nil'] = 'returned nil', ['0/0'] = 'NaN', ['-1'] = '-1',
      ['"two"'] = 'a string', ['state.step == 20 and 1 or 2'] = 'must not fall', ['nil + 1'] = 'raised',
    } do
      local ok, problem, path = train { schedule = ('function(state) return %s end'):format(body) }
      assert.is_false(ok)
      assert.is_true(errors.is_user_error(problem), tostring(problem))
      expect.mentions(problem.message, 'schedule: at step', message)
      assert.equal('failed', read(path).attributes.end_state)
    end
  end)

  it('keeps what it has when it fails: the last rows and the model', function()
    local ok, _, path = train { schedule = 'function(state) return state.step < 27 and 0 or error("late") end' }
    assert.is_false(ok)
    local steps = column(read(path).tables.train, 'step')
    assert.same({ 10, 20, 27 }, steps)
    assert.is_true(#small.model_bytes(path) > 0)
  end)

  it('ends in order when the user ends the program during an evaluation', function()
    core.check(core.C.icot_interrupts_catch())
    local loud = setmetatable({ note = function() os.execute('kill -TERM $PPID') end }, { __index = silent })
    local ok, result, path = train { progress = loud }
    core.C.icot_interrupts_clear()
    assert.is_true(ok, tostring(result))
    assert.equal('interrupted', result.status)
    assert.equal(14, result.updates) -- the signal comes after the evaluation at step 14
    local file = read(path)
    assert.equal('interrupted', file.attributes.end_state)
    assert.same({ 14 }, column(file.tables.eval, 'step'))
  end)

  it('shows the schedule a copy of its state', function()
    local ok, result = train { schedule = 'function(state) state.step, state.removed = 1e9, nil return 0 end' }
    assert.is_true(ok, tostring(result))
    assert.equal(40, result.updates)
  end)

  it('saves no model whose parameters are no numbers', function()
    local ok, _, path = train { optimizer = ', weight_decay = 1e42' }
    assert.is_false(ok)
    assert.is_nil(lfs.attributes(path:gsub('%.h5$', '') .. '/model.safetensors', 'mode'))
  end)

  it('refuses a context that the examples do not fit in', function()
    local ok, problem = train { model = ', context = 12' }
    assert.is_false(ok)
    expect.mentions(problem.message, 'model.context', '12')
  end)

  it('stops at a loss that is not a number', function()
    -- a decay that is far too strong overflows the parameters in the first update
    local ok, problem, path = train { optimizer = ', weight_decay = 1e38, warmup_steps = 0' }
    assert.is_false(ok)
    expect.mentions(problem.message, 'training: the loss is', 'at step 2')
    assert.equal('failed', read(path).attributes.end_state)
  end)
end)

describe('the recipes that come with icot', function()
  for _, name in ipairs {
    'quickstart', 'mult_4x4', 'mult_9x9', 'custom_schedule', 'ablation', 'gated', 'parity', 'icot_kd',
  } do
    it(name .. ' is valid', function()
      local loaded = recipe.load(('recipes/%s.lua'):format(name))
      assert.is_true(#loaded.runs >= 1)
      assert.equal(('results/%s.h5'):format(name), loaded.output)
    end)
  end
end)

describe('a training', function()
  after_each(temporary.clean)

  it('an evaluation takes no time of the training', function()
    local self, run = training.new(small.run {}), evaluate.run
    self.progress, self.log = small.silent, { evaluation = function() end }
    evaluate.run = function()
      local started = core.C.icot_seconds()
      repeat until core.C.icot_seconds() - started > 0.1
      return { accuracy = 0, loss = 1 }
    end
    self.meter:start()
    local ok, problem = pcall(self.evaluate, self, 'valid')
    evaluate.run = run
    assert.is_true(ok, tostring(problem))
    assert.is_true(self.meter:seconds() < 0.05)
    self:free()
  end)

  it('an accuracy with CoT is not good enough once there is none', function()
    local run = evaluate.run
    evaluate.run = function(_, _, _, removed)
      return { accuracy = removed == 0 and 0.9 or 0.1, token_accuracy = 0, loss = 1, positions = { 0, 0, 0, 0 },
               groups = {}, samples = {}, examples = 25, examples_per_second = 1, tokens_generated = 0 }
    end
    local ok, result = small.train {
      schedule = 'function(state) return state.step < 18 and 0 or 8 end', settings = { 'train.stop_at_accuracy=0.5' },
    }
    evaluate.run = run
    assert(ok, result)
    assert.equal(40, result.updates)
  end)
end)
