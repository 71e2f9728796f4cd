--- Checkpoints, and going on from them as if nothing had happened.
local checkpoint = require 'icot.saved.checkpoint'
local core = require 'icot.engine.core'
local divergence = require 'icot.training.divergence'
local errors = require 'icot.base.errors'
local evaluate = require 'icot.training.evaluate'
local expect = require 'tests.lua.support.expect'
local lfs = require 'lfs'
local lock = require 'icot.engine.lock'
local program = require 'tests.lua.support.program'
local run_paths = require 'icot.results.run_paths'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local checkpoint_keeper = require 'icot.training.checkpoint_keeper'
local files = require 'icot.base.files'

-- Everything that has a state: dropout, moments that are kept, a schedule that remembers.
local full = {
  model = ', dropout = 0.1', optimizer = ", reset = 'keep', warmup_steps = 5",
  schedule = [[function(state)
    local own = state.own
    own.calls, own.last = (own.calls or 0) + 1, { state.loss or 0, state.accuracy or 0 }
    if STOP and own.calls == STOP then error('stopped') end
    return math.max(0, own.calls - 12) / 2
  end]],
  settings = { 'train.log_every=3', 'checkpoint.every_steps=4' },
}

-- Trains it, stopping once the schedule was asked `stop` times.
local function train_full(folder, stop, options)
  rawset(_G, 'STOP', stop)
  full.folder = folder
  local ok, result, path = small.train(full, options)
  rawset(_G, 'STOP', nil)
  return ok, result, path
end

-- Trains until a signal comes within the evaluation of this number (from 1).
local function interrupt_evaluation(number, changes)
  local run, count = evaluate.run, 0
  core.check(core.C.icot_interrupts_catch())
  evaluate.run = function(...)
    count = count + 1
    if count == number then os.execute('kill -TERM $PPID') end
    return run(...)
  end
  local ok, result = small.train(changes)
  evaluate.run = run
  core.C.icot_interrupts_clear()
  return ok and result.status
end

-- What each checkpoint that is there is kept for.
local function kept_for(path)
  local reasons = {}
  for i, each in ipairs(checkpoint.list(run_paths.checkpoint_folder(path))) do
    reasons[i] = { each.step, checkpoint.read_description(each.path).kept_for }
  end
  return reasons
end

local function steps_of(path)
  local steps = {}
  for i, each in ipairs(checkpoint.list(run_paths.checkpoint_folder(path))) do steps[i] = each.step end
  return steps
end

describe('a run that is resumed', function()
  after_each(temporary.clean)

  it('ends with the bits of one that was never stopped, wherever it was stopped', function()
    local _, whole, path = train_full(temporary.folder())
    local expected, bytes = small.rows(path), small.model_bytes(path)
    for _, stop in ipairs { 1, 5, 15, 16, 31, 40 } do
      local folder = temporary.folder()
      local ok, problem, broken = train_full(folder, stop)
      assert.is_false(ok)
      expect.mentions(problem.message, 'stopped')
      local resumed, result = train_full(folder, nil, { resume = true })
      assert.is_true(resumed, tostring(result))
      assert.same(expected, small.rows(broken))
      assert.equal(bytes, small.model_bytes(broken))
      assert.equal(whole.accuracy, result.accuracy)
      assert.equal(whole.tokens, result.tokens)
    end
  end)

  it('ends with the same bits after a signal in the middle of an evaluation', function()
    local _, _, path = train_full(temporary.folder())
    core.check(core.C.icot_interrupts_catch())
    local folder = temporary.folder()
    full.progress = setmetatable({ note = function() os.execute('kill -TERM $PPID') end }, { __index = small.silent })
    local _, result, broken = train_full(folder)
    full.progress = nil
    core.C.icot_interrupts_clear()
    assert.equal('interrupted', result.status)
    assert(train_full(folder, nil, { resume = true }))
    assert.same(small.rows(path), small.rows(broken))
    assert.equal(small.model_bytes(path), small.model_bytes(broken))
    local segments = small.read(broken).tables.segments
    assert.equal(2, #segments.rows)
    assert.same({ '', 'interrupted' }, small.column(segments, 'stopped_by'))
    assert.matches('^%d+%-%d+%-%d+T', small.column(segments, 'stopped_time')[2])
  end)

  it('has the same rows and keeps the same checkpoints after a signal within any of its evaluations', function()
    local changes = { settings = { -- stages that end where evaluations are due, and a best model on the way
      'schedule={"kind":"linear","steps_per_token":5,"explicit_steps":5}', 'train.evaluate_every=5',
      'checkpoint.keep.stages=all', 'dataset.ood.longer={"digits":[3,2],"examples":12}',
    } }
    local ok, whole, path = small.train(changes)
    assert.is_true(ok, tostring(whole))
    local evaluations = #small.read(path).tables.eval.rows
    assert.equal(10, evaluations)
    for _, number in ipairs { 2, 4, evaluations - 1, evaluations } do -- two stage ends; test and longer
      changes.folder = temporary.folder()
      assert.equal('interrupted', interrupt_evaluation(number, changes))
      local resumed, result, broken = small.train(changes, { resume = true })
      assert.is_true(resumed, tostring(result))
      assert.equal(whole.accuracy, result.accuracy)
      assert.same(small.rows(path), small.rows(broken))
      assert.same(kept_for(path), kept_for(broken))
    end
  end)

  it('begins where there is nothing yet, and has nothing to do where all is done', function()
    local folder = temporary.folder()
    local ok, first = small.train({ folder = folder }, { resume = true })
    assert.is_true(ok, tostring(first))
    local bytes = temporary.read(folder .. '/small.h5')
    local again, second = small.train({ folder = folder }, { resume = true })
    assert.is_true(again, tostring(second))
    assert.equal(first.accuracy, second.accuracy)
    assert.equal(bytes, temporary.read(folder .. '/small.h5'))
  end)

  it('has no model of an earlier stop while it goes on', function()
    local folder = temporary.folder()
    local stopping = { folder = folder, schedule = [[function(state)
      if STOP and state.step == STOP then error('stopped') end
      return 0
    end]] }
    rawset(_G, 'STOP', 21)
    assert.is_false((small.train(stopping))) -- leaves a model all the same
    assert.is_truthy(files.kind(folder .. '/small/model.safetensors'))
    local seen
    stopping.progress = setmetatable({ update = function()
      seen = seen or tostring(files.kind(folder .. '/small/model.safetensors'))
    end }, { __index = small.silent })
    rawset(_G, 'STOP', nil)
    assert(small.train(stopping, { resume = true }))
    assert.equal('nil', seen)
    assert.is_truthy(files.kind(folder .. '/small/model.safetensors'))
  end)

  it('goes on longer if the recipe says so and the user agrees', function()
    local folder = temporary.folder()
    assert(small.train { folder = folder })
    local longer = { folder = folder, settings = { 'train.steps=60' } }
    local ok, problem = small.train(longer, { resume = true })
    assert.is_false(ok)
    expect.mentions(problem.message, 'the recipe has changed', 'train.steps: 40, now 60', '--allow-changes')
    local resumed, result, path = small.train(longer, { resume = true, allow_changes = true })
    assert.is_true(resumed, tostring(result))
    assert.equal(60, result.updates)
    assert.same({ 10, 20, 30, 40, 50, 60 }, small.column(small.read(path).tables.train, 'step'))
    expect.mentions(small.column(small.read(path).tables.segments, 'changes')[2], 'train.steps: 40, now 60')
  end)

  it('goes on where there are no examples to measure an accuracy on, which never is good enough', function()
    local folder = temporary.folder()
    local examples = temporary.write(folder .. '/train.txt', '1 2||3 #### 4\n2 1||3 3 #### 4\n')
    local settings = { ('dataset={"task":"text","train":"%s"}'):format(examples), 'train.stop_at_accuracy=0.5' }
    for _, steps in ipairs { 20, 40 } do
      settings[3] = 'train.steps=' .. steps
      local ok, result = small.train({ folder = folder, settings = settings }, { resume = true, allow_changes = true })
      assert.is_true(ok, tostring(result))
      assert.equal(steps, result.updates)
      assert.is_true(result.accuracy ~= result.accuracy)
    end
  end)

  it('notices a new schedule, and other data', function()
    local folder = temporary.folder()
    assert(small.train { folder = folder, schedule = 'function() return 0 end' })
    local ok, problem = small.train({ folder = folder, schedule = 'function() return 1 end' }, { resume = true })
    assert.is_false(ok)
    expect.mentions(problem.message, 'schedule: a function')
  end)

  it('takes none that lacks a part', function()
    for _, part in ipairs { 'model.safetensors', 'moments.safetensors', 'run.h5' } do
      local folder = temporary.folder()
      local _, _, path = train_full(folder, 31)
      local before = steps_of(path)
      local newest = checkpoint.path(run_paths.checkpoint_folder(path), before[#before])
      assert(os.remove(newest .. '/' .. part))
      expect.mentions(expect.user_error(checkpoint.read, newest), part .. ': is missing')
    end
  end)

  it('says what is wrong with the only checkpoint, and keeps it', function()
    local only_last = { folder = temporary.folder(), settings = { 'checkpoint.keep={"stages":0,"best":false}' } }
    local _, _, path = small.train(only_last)
    local newest = checkpoint.list(run_paths.checkpoint_folder(path))[1].path
    local description = temporary.read(newest .. '/checkpoint.json')
    temporary.write(newest .. '/checkpoint.json', (description:gsub('"format":%s*1', '"format": 2')))
    for _, path_of_rows in ipairs { path, path .. '.moved' } do
      local ok, problem = small.train(only_last, { resume = true })
      assert.is_false(ok)
      expect.mentions(problem.message, 'checkpoint of step 40 cannot be used', 'format is 2')
      os.rename(path, path_of_rows) -- also where there are no rows
    end
    assert.same({ 40 }, steps_of(path))
    local shown = program.run { '--resume', path }
    assert.equal(1, shown.code)
    expect.mentions(shown.err, 'checkpoint of step 40 cannot be used', 'format is 2')
  end)

  it('makes again what a run that is over has lost', function()
    local folder = temporary.folder()
    local _, first, path = small.train { folder = folder }
    local expected, bytes = small.rows(path), small.model_bytes(path)
    os.remove(path)
    local ok, again = small.train({ folder = folder }, { resume = true })
    assert.is_true(ok, tostring(again))
    assert.same(expected, small.rows(path))
    assert.equal(first.accuracy, again.accuracy)
    os.remove((path:gsub('%.h5$', '/model.safetensors')))
    assert(small.train({ folder = folder }, { resume = true }))
    assert.equal(bytes, small.model_bytes(path))
    assert.equal('finished', small.read(path).attributes.end_state)
    os.execute(("truncate -s 3000 '%s'"):format(path))
    assert(small.train({ folder = folder }, { resume = true }))
    assert.same(expected, small.rows(path))
    assert.equal('finished', small.column(small.read(path).tables.segments, 'stopped_by')[2])
  end)

  it('tidies up after one that was killed at its very end', function()
    local folder = temporary.folder()
    local settings = { 'checkpoint.every_steps=5', 'checkpoint.keep={"stages":0,"best":false}' }
    local _, _, path = small.train { folder = folder, settings = settings }
    local kept = steps_of(path)
    local last = checkpoint.path(run_paths.checkpoint_folder(path), 40)
    os.execute(("cp -r '%s' '%s'"):format(last, checkpoint.path(run_paths.checkpoint_folder(path), 35)))
    local partial = path:gsub('%.h5$', '/model.safetensors.partial-99-0')
    temporary.write(partial, 'half a model')
    assert(small.train({ folder = folder, settings = settings }, { resume = true }))
    assert.same(kept, steps_of(path))
    assert.is_nil(temporary.read(partial))
  end)

  it('has the sizes that it had', function()
    local folder = temporary.folder()
    assert(small.train { folder = folder })
    local wider, refusal = small.train({ folder = folder, settings = { 'model.context=64', 'train.steps=50' } },
                                       { resume = true, allow_changes = true })
    assert.is_false(wider)
    expect.mentions(refusal.message, 'in the checkpoint', 'and would be 64 now')
    local ok, problem = small.train({ folder = folder, settings = { 'model.width=32', 'train.steps=50' } },
                                    { resume = true, allow_changes = true })
    assert.is_false(ok)
    expect.mentions(problem.message, 'model.width: is 16 in the checkpoint', 'and would be 32 now')
  end)

  it('refuses rows without a checkpoint', function()
    local folder = temporary.folder()
    local _, _, path = small.train { folder = folder }
    os.execute(("rm -r '%s'"):format(run_paths.checkpoint_folder(path)))
    local ok, problem = small.train({ folder = folder }, { resume = true })
    assert.is_false(ok)
    expect.mentions(problem.message, 'there is no checkpoint', '--force')
  end)

  it('takes the checkpoint before when the newest is damaged', function()
    local damages = { ['model.safetensors'] = 'x', ['checkpoint.json'] = '{', ['moments.safetensors'] = '',
      ['run.h5'] = '\137HDF\r\n\26\n' }
    for name, damage in pairs(damages) do
      local folder, notes = temporary.folder(), {}
      local _, _, path = train_full(folder, 31)
      local expected = steps_of(path)
      local newest = checkpoint.path(run_paths.checkpoint_folder(path), expected[#expected])
      temporary.write(newest .. '/' .. name, damage)
      local function add(_, note) notes[#notes + 1] = note end
      full.progress = setmetatable({ note = add, warn = add }, { __index = small.silent })
      local ok, result = train_full(folder, nil, { resume = true })
      full.progress = nil
      assert.is_true(ok, tostring(result))
      expect.mentions(table.concat(notes, '\n'), 'cannot be used', name,
                      ('resumed from the checkpoint of step %d'):format(expected[#expected - 1]))
    end
  end)

  it('has a lock that keeps others off', function()
    local run = small.run()
    lock.with(run.output, function()
      local result = program.run { run.output:gsub('%.h5$', '.lua'), '--out', run.output }
      assert.equal(1, result.code)
      expect.mentions(result.err, 'is at work on this run', 'process')
    end)
    assert.is_nil(lfs.attributes(run.output .. '.lock', 'mode'))
  end)

  it('goes on once there is room again after the disk was full', function()
    local whole = small.run()
    local broken = small.run { folder = temporary.folder() }
    local function command(run, prefix, options)
      return program.shell(("%s '%s' '%s' --quiet --threads 1 --set train.log_every=1 --out '%s' %s"):format(
        prefix, program.icot, run.output:gsub('%.h5$', '.lua'), run.output, options or ''))
    end
    assert.equal(0, command(whole, '').code)
    local failed = command(broken, 'ulimit -f 60;') -- blocks of 512 or 1024 bytes: too few for the run file
    assert.equal(1, failed.code)
    expect.mentions(failed.err, 'small.h5: cannot write: File too large')
    assert.equal('failed', small.read(broken.output).attributes.end_state)
    local resumed = command(broken, '', '--resume')
    assert.equal(0, resumed.code, resumed.err)
    assert.same(small.rows(whole.output), small.rows(broken.output))
    assert.equal(small.model_bytes(whole.output), small.model_bytes(broken.output))
  end)

  it('is not begun anew over checkpoints, unless it is told to', function()
    local folder = temporary.folder()
    local _, _, path = small.train { folder = folder }
    for _, name in ipairs { '.h5', '/model.safetensors', '/config.json' } do
      os.remove(path:gsub('%.h5$', '') .. name)
    end
    local result = program.run { folder .. '/small.lua', '--out', path }
    assert.equal(1, result.code)
    expect.mentions(result.err, 'has checkpoints already', '--resume')
  end)

  it('can be named by the folder beside it, but not by a checkpoint', function()
    local folder = temporary.folder()
    local _, _, path = train_full(folder, 31)
    local beside = path:gsub('%.h5$', '')
    local steps = steps_of(path)
    local refused = program.run { '--resume', checkpoint.path(run_paths.checkpoint_folder(path), steps[#steps]) }
    assert.equal(1, refused.code)
    expect.mentions(refused.err, 'is a checkpoint; name its run, ')
    local resumed = program.run { '--resume', beside .. '/', '--quiet' }
    assert.equal(0, resumed.code, resumed.err)
    assert.equal('finished', small.read(path).attributes.end_state)
  end)

  it('can be named alone, by its run file', function()
    local folder = temporary.folder()
    local _, _, path = train_full(folder, 21)
    os.remove(folder .. '/small.lua')
    local result = program.run { '--resume', path, '--threads', tostring(require('icot.engine.core').C.icot_threads()) }
    assert.equal(0, result.code, result.err)
    local _, _, whole = train_full(temporary.folder())
    assert.equal(small.model_bytes(whole), small.model_bytes(path))
  end)
end)

describe('checkpoints', function()
  after_each(temporary.clean)

  it('are kept as the recipe says', function()
    local cases = {
      [{ 'checkpoint.every_steps=5', 'checkpoint.keep.stages=0', 'checkpoint.keep.best=false' }] = { 40 },
      [{ 'checkpoint.keep.stages=0', 'checkpoint.keep.best=false', 'checkpoint.keep.last=9' }] = { 40 },
      [{ 'checkpoint.keep.stages=2', 'checkpoint.keep.best=false' }] = { 26, 28, 40 },
      [{ 'checkpoint.keep.stages=all', 'checkpoint.keep.best=false' }] = { 14, 16, 18, 20, 22, 24, 26, 28, 40 },
    }
    for settings, expected in pairs(cases) do
      local ok, result, path = small.train { settings = settings }
      assert.is_true(ok, tostring(result))
      assert.same(expected, steps_of(path))
    end
  end)

  it('are kept of the best once, the first of several that are as good', function()
    local _, _, path = small.train { -- learns nothing, so that all validations are as good; one that fails keeps all
      schedule = "function(state) if state.step == 38 then error('stop') end return 0 end",
      settings = { 'optimizer.lr=1e-30', 'checkpoint.keep.last=100' },
    }
    assert.same({ 0, 15 }, steps_of(path)) -- evaluated at 15 and 30
  end)

  it('are none for a best accuracy where there are no validation examples', function()
    local _, _, path = small.train {
      schedule = "function(state) if state.step == 38 then error('stop') end return 0 end",
      settings = { 'dataset.valid=0', 'checkpoint.keep.last=100' },
    }
    assert.same({ 0 }, steps_of(path))
  end)

  it('are models that can be evaluated, exported and trained from', function()
    local ok, result, path = small.train { settings = { 'checkpoint.keep.stages=all' } }
    assert.is_true(ok, tostring(result))
    local stage = checkpoint.path(run_paths.checkpoint_folder(path), 20)
    local shown = program.run { 'eval', stage, '--split', 'valid' }
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.out, 'step 20, 3 of 8 CoT tokens removed', 'accuracy', '25 of valid')
    local target = temporary.folder() .. '/exported'
    assert.equal(0, program.run({ 'export', stage, target }).code)
    assert.equal(temporary.read(stage .. '/model.safetensors'), temporary.read(target .. '/model.safetensors'))
    assert(small.train {
      settings = { 'model={"pretrained":"' .. stage .. '"}' }, model = '', folder = temporary.folder(),
    })
  end)

  it('do not end a run when they cannot be written', function()
    local notes, folder = {}, temporary.folder()
    local run_folder = folder .. '/small'
    local blocked = setmetatable({
      warn = function(_, note) notes[#notes + 1] = note end,
      update = function(_, state)
        if state.step == 1 then os.execute(("rm -r '%s' && touch '%s'"):format(run_folder, run_folder)) end
        if state.step == 20 then os.remove(run_folder) end
      end,
    }, { __index = small.silent })
    local ok, result = small.train { folder = folder, progress = blocked, settings = { 'checkpoint.every_steps=5' } }
    assert.is_true(ok, tostring(result))
    expect.mentions(table.concat(notes, '\n'), 'no checkpoint at step 5', 'training continues')
  end)

  it('are not tried at each update when the best cannot be written', function()
    local keeper = checkpoint_keeper.new(temporary.file 'no folder', {
      every_minutes = 1, every_steps = false, keep = { stages = 0, best = true, last = 1 },
    })
    local notes, checkpoints = {}, 0
    local at = {
      state = { step = 3 }, run = { config_json = '{}' }, planned = 0, model = {},
      checkpoint_parts = function() return { description = {} } end, begins_stage = function() return false end,
      progress = { warn = function(_, note) notes[#notes + 1] = note end },
    }
    local write = checkpoint.write
    checkpoint.write = function()
      checkpoints = checkpoints + 1
      errors.raise('disk full')
    end
    local has_finite = divergence.has_finite_parameters
    divergence.has_finite_parameters = function() return true end
    finally(function() checkpoint.write, divergence.has_finite_parameters = write, has_finite end)
    keeper:note_accuracy(0, 0.5)
    for step = 3, 9 do
      at.state.step = step
      keeper:consider(at)
    end
    assert.equal(1, checkpoints)
    expect.mentions(notes[1], 'no checkpoint at step 3: disk full')
    keeper:note_accuracy(0, 0.4) -- the best is lost: this one counts
    keeper:consider(at)
    assert.equal(2, checkpoints)
  end)

  it('refuse what a schedule keeps and JSON does not hold', function()
    for value, problem in pairs {
      ['0/0'] = 'state.own.x is', ['function() end'] = 'state.own.x is a function', ['{ 1, a = 2 }'] = 'has the key',
      ['state.own'] = 'is the same table as state.own', ['{ 1, 2, nil, 4 }'] = 'state.own.x is a list with holes',
      ['{}; state.own.y = state.own.x'] = 'state.own.y is the same table as state.own.x',
      ['{}; local t = state.own.x; for _ = 1, 60 do t.a = {}; t = t.a end'] = 'more than 50 deep',
    } do
      local schedule = ('function(state) state.own.x = %s return 0 end'):format(value)
      local ok, raised = small.train { schedule = schedule, settings = { 'checkpoint.every_steps=5' } }
      assert.is_false(ok)
      assert.is_true(errors.is_user_error(raised), tostring(raised))
      expect.mentions(raised.message, problem)
    end
  end)
end)

describe('checkpoints', function()
  after_each(temporary.clean)

  it('checkpoints are minutes apart, also after one that failed', function()
    local keeper = checkpoint_keeper.new(temporary.folder(), {
      every_minutes = 1, every_steps = false, keep = { stages = 0, best = false, last = 1 },
    })
    local saved, at = 0, { state = { step = 3 }, planned = 0 }
    keeper.save = function() saved = saved + 1 end
    keeper.last_time = core.C.icot_seconds() - 50
    keeper:consider(at)
    assert.equal(0, saved)
    keeper.last_time = core.C.icot_seconds() - 61
    keeper:consider(at)
    assert.equal(1, saved)
  end)

  it('a checkpoint that went aside comes back', function()
    local folder = temporary.folder()
    files.make_folder(folder .. '/step-000000005.aside')
    files.make_folder(folder .. '/step-000000007')
    files.make_folder(folder .. '/step-000000007.aside')
    checkpoint.tidy(folder)
    local found = {}
    for i, each in ipairs(checkpoint.list(folder)) do found[i] = each.step end
    assert.same({ 5, 7 }, found)
    assert.equal(2, #files.names_in(folder))
  end)
end)
