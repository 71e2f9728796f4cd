--- method = 'icot_kd': the chain of runs that it is, as a user meets it.
local expect = require 'tests.lua.support.expect'
local json = require 'icot.base.json'
local program = require 'tests.lua.support.program'
local recipes = require 'tests.lua.support.recipes'
local resume = require 'icot.saved.resume'
local run_queue = require 'icot.study.run_queue'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local trainer = require 'icot.training.trainer'

local text = [[return {
  method = 'icot_kd', seed = 5,
  dataset = { task = 'multiplication', digits = 2, train = 64, valid = 8, test = 8 },
  model = { layers = 2, heads = 2, width = 16%s }, optimizer = { lr = 1e-3 },
  train = { steps = 12, batch = 8, log_every = 4, evaluate_every = 6 }, evaluate = { examples = 8, batch = 8 },
  distillation = { teacher_steps = 8, student_steps = 10, emulator_steps = 9, emulator_lr = 2e-3 }, %s }]]

local function folder_with(more, model)
  return recipes.folder_with(text:format(model or '', more or ''))
end

local function load(folder, ...)
  return recipes.load(folder .. '/mine.lua', { ... }, { output = folder .. '/results/mine.h5' })
end

local icot = program.run_in

local OTHERS = 'distillation.safetensors'
local files_of_model = { 'model.safetensors', OTHERS }

-- All that the runs have left, as one string.
local function models(folder, names)
  local bytes = {}
  for _, name in ipairs(names) do
    for _, file in ipairs(files_of_model) do
      bytes[#bytes + 1] = temporary.read(('%s/results/mine/%s/%s'):format(folder, name, file)) or 'none'
    end
  end
  return table.concat(bytes)
end

local names = { 'icot_kd.teacher-5', 'icot_kd.student-5', 'icot_kd.emulator-5', 'icot_kd-5' }

describe('icot_kd', function()
  after_each(temporary.clean)

  it('is a chain of runs, each with what it needs, after the one before', function()
    local loaded = load(folder_with())
    assert.is_true(loaded.is_study)
    local arms, methods, budgets, rates, waits = {}, {}, {}, {}, {}
    for i, run in ipairs(loaded.runs) do
      arms[i], methods[i], budgets[i] = run.arm, run.config.method, run.config.train.steps
      rates[i], waits[i] = run.config.optimizer.lr, run.waits_for and run.waits_for[1].number or 0
    end
    assert.same({ 'icot_kd.teacher', 'icot_kd.student', 'icot_kd.emulator', 'icot_kd' }, arms)
    assert.same({ 'explicit_cot', 'icot_kd', 'icot_kd', 'icot_kd' }, methods)
    assert.same({ 8, 10, 9, 12 }, budgets)
    assert.same({ 1e-3, 1e-3, 2e-3, 1e-3 }, rates)
    assert.same({ 0, 1, 2, 3 }, waits)
    local folders = {}
    for i, run in ipairs(loaded.runs) do folders[i] = run.model_output end
    assert.is_nil(loaded.runs[1].config.distillation)
    assert.same({ step = 'student', mixture = 1, temperature = 0.05, from = { teacher = folders[1] } },
                loaded.runs[2].config.distillation)
    assert.same({ teacher = folders[1], networks = folders[2] }, loaded.runs[3].config.distillation.from)
    assert.same({ networks = folders[3] }, loaded.runs[4].config.distillation.from)
  end)

  it('has one chain per arm, point of a grid and seed; other methods know nothing of it', function()
    local loaded = load(folder_with [[arms = { { name = 'kd', grid = { optimizer = { lr = { 1, 2 } } } },
      { name = 'plain', method = 'no_cot' } }]], 'seeds=[1,2]', 'distillation.teacher_steps=nil')
    assert.equal(2 * 2 * 4 + 2, #loaded.runs)
    local last = loaded.runs[16]
    assert.same({ 'kd,lr=2', 2, { 13, 14, 15 } }, { last.arm, last.seed, last.steps })
    assert.equal('kd.teacher,lr=2', loaded.runs[13].arm)
    assert.equal(12, loaded.runs[13].config.train.steps)
    assert.same({}, { loaded.runs[17].config.distillation, loaded.runs[17].waits_for })
  end)

  it('refuses what cannot be', function()
    local function refused(message, ...) expect.mentions(expect.user_error(load, ...), message) end
    refused("kd.student is the name of one of its steps", folder_with [[
      arms = { { name = 'kd' }, { name = 'kd.student', method = 'no_cot' } },]])
    refused("distillation.teacher: got 'nowhere', expected a folder", folder_with(), 'distillation.teacher=nowhere')
    refused('distillation.mixture: got 0, expected an integer of at least 1', folder_with(), 'distillation.mixture=0')
    refused('distillation: give either teacher or teacher_steps, not both', folder_with [[
      arms = { { name = 'kd' } }, distillation = { teacher = 'somewhere', teacher_steps = 3 },]])
    refused('distillation.step is not a known field', folder_with(), 'distillation.step=student')
  end)

  it('counts all steps where arms are matched', function()
    local loaded = load(folder_with [[arms = { { name = 'kd' }, { name = 'plain', method = 'no_cot' } },]],
                        'match=updates', 'match_arm=kd')
    local queue, order, last = run_queue.new(loaded.runs), {}, nil
    while queue:next() do
      local number = queue:next()
      local run, refused = queue:take(number)
      assert.is_nil(refused)
      order[#order + 1], last = number, run
      queue:finish(number, { status = 'finished', updates = 10 * number })
    end
    assert.same({ 1, 2, 3, 4, 5 }, order)
    assert.equal(10 + 20 + 30 + 40, last.config.train.steps)

    loaded = load(folder_with [[arms = { { name = 'kd' }, { name = 'plain', method = 'no_cot' } },]],
                  'match=updates', 'match_arm=plain')
    local function give(of_plain)
      queue = run_queue.new(loaded.runs)
      for number, updates in ipairs { 10, 20, 30, nil, of_plain } do
        queue:finish(number, { status = 'finished', updates = updates })
      end
      for number = 1, 3 do queue:finish(number, { status = 'finished', updates = 10 * number }) end
      queue:finish(5, { status = 'finished', updates = of_plain })
      return queue:take(4)
    end
    local given, refused = give(100)
    assert.same({ 40, nil }, { given.config.train.steps, refused })
    assert.equal('not started: it has to match 60 updates, but the steps before it used 60',
                 select(2, give(60)).message)
    expect.mentions(expect.user_error(load, folder_with [[arms = { { name = 'kd' }, { name = 'b' } },]], 'match=flops',
                                      'match_arm=kd.teacher'), "there is no arm 'kd.teacher'")
  end)

  it('trains step by step, the same one after another and in processes, and each can be looked at', function()
    local together, apart = folder_with(), folder_with()
    local one = icot(together, 'mine.lua', '--threads', '1')
    assert.equal(0, one.code, one.err)
    local two = icot(apart, 'study', 'mine.lua', '--jobs', '2', '--threads', '2')
    assert.equal(0, two.code, two.err)
    assert.is_true(models(together, names) == models(apart, names))
    assert.is_nil(models(together, names):find('nonenone', 1, true))
    expect.mentions(one.err, "icot_kd.student seed 5  the accuracies of this step are those of a student that is given "
                    .. "the teacher's states", 'icot_kd.emulator seed 5  the accuracies of this step are those of')

    local index, tables = small.read(together .. '/results/mine.h5'), {}
    assert.same({ 8, 10, 9, 12 }, small.column(index.tables.summary, 'updates'))
    for i, name in ipairs(names) do tables[i] = index.runs[name].run.tables end
    local emulator, coupled = tables[3], tables[4]
    assert.same({ json.null, json.null, json.null }, small.column(emulator.train, 'token_accuracy'))
    for _, value in ipairs(small.column(coupled.train, 'token_accuracy')) do assert.is_true(value > 0) end
    for _, value in ipairs(small.column(coupled.train, 'removed')) do assert.equal(8, value) end

    for i, name in ipairs(names) do
      local seen = icot(together, 'eval', ('results/mine/%s.h5'):format(name), '--threads', '1')
      assert.equal(0, seen.code, seen.err)
      local rows = tables[i].eval
      local loss, split = small.column(rows, 'loss'), small.column(rows, 'split')
      assert.equal('test', split[#split])
      assert.near(loss[#loss], tonumber(seen.out:match('\nloss +(%S+)')), 1e-6)
    end
    local seen = icot(together, 'eval', 'results/mine/icot_kd.student-5.h5')
    expect.mentions(seen.out, "given the teacher's states for the right CoT")

    local exported = icot(together, 'export', 'results/mine/icot_kd-5.h5', 'student')
    assert.equal(0, exported.code, exported.err)
    expect.mentions(exported.err, 'this is the student alone', 'results/mine/icot_kd-5/distillation.safetensors')
    assert.equal('', icot(together, 'export', 'results/mine/icot_kd.teacher-5.h5', 'teacher').err)
  end)

  it('takes a teacher that is there', function()
    local folder = folder_with()
    assert.equal(0, icot(folder, 'mine.lua', '--quiet', '--threads', '1').code)
    local again = icot(folder, 'mine.lua', '--quiet', '--threads', '1', '--out', 'results/again.h5', '--set',
                       'distillation.teacher=results/mine/icot_kd.teacher-5')
    assert.equal(0, again.code, again.err)
    assert.is_nil(again.out:find('teacher', 1, true))
    local function left_in(study)
      return temporary.read(('%s/results/%s/icot_kd-5/%s'):format(folder, study, OTHERS))
    end
    assert.is_true(left_in('mine') == left_in('again'))
  end)

  it('does not start a step without the model of the one before', function()
    local result = icot(folder_with(''), 'mine.lua', '--quiet', '--set', 'divergence.loss_above=1e-3')
    assert.equal(1, result.code)
    expect.mentions(result.err, 'icot: icot_kd.teacher seed 5: ', 'loss',
                    'icot_kd.student seed 5: not started: it needs the model of icot_kd.teacher seed 5, which failed\n',
                    'icot_kd seed 5: not started: it needs the model of icot_kd.emulator seed 5, which failed\n')
  end)

  -- Trains all of them; a run of which `stop_at` tells a step is stopped there first, and resumed.
  local function train_chain(stop_at, more)
    local folder = folder_with('', ', dropout = 0.1')
    local loaded = load(folder, 'checkpoint.every_steps=3', 'train.log_every=1', unpack(more or {}))
    for i, run in ipairs(loaded.runs) do
      if stop_at[i] then
        local stopping = setmetatable({
          update = function(_, state) if state.step == stop_at[i] then error('stopped') end end,
        }, { __index = small.silent })
        assert.is_false((pcall(trainer.run, run, { progress = stopping })))
      end
      trainer.run(run, { progress = small.silent, resume = stop_at[i] ~= nil })
    end
    return folder
  end

  -- What the emulator's run file says, which has seen most of it: frozen networks beside those that learn.
  local function rows(folder)
    return small.rows(('%s/results/mine/%s.h5'):format(folder, names[3]))
  end

  for what, more in pairs {
    ['as it is'] = {},
    ['in parts, with checkpointing'] = { 'train.accumulate=3', 'train.activation_checkpointing=true' },
  } do
    it('is resumed bit for bit in each of its steps, ' .. what, function()
      local whole, stopped = train_chain({}, more), train_chain({ 4, 8, 5, 7 }, more)
      assert.is_true(models(whole, names) == models(stopped, names))
      assert.same(rows(whole), rows(stopped))
    end)
  end

  it('is resumed from its index, and a single step from its run file', function()
    local folder = folder_with()
    assert.equal(0, icot(folder, 'mine.lua', '--quiet').code)
    local again = icot(folder, '--resume', 'results/mine.h5')
    assert.equal(0, again.code, again.err)
    expect.mentions(again.err, 'icot_kd.teacher seed 5  already finished', 'icot_kd seed 5  already finished')
    local one = icot(folder, '--resume', 'results/mine/icot_kd.emulator-5.h5')
    assert.equal(0, one.code, one.err)
    expect.mentions(one.err, 'already finished')
    os.rename(folder .. '/results', folder .. '/moved')
    assert.equal(0, icot(folder, '--resume', 'moved/mine.h5', '--quiet').code)
    assert.same({}, resume.changes(load(folder).runs[3], require('icot.saved.checkpoint').read(
      folder .. '/moved/mine/icot_kd.emulator-5/checkpoints/step-000000009')))
  end)
end)
