--- `icot study`: runs as processes of their own, as a user meets them.
local program = require 'tests.lua.support.program'
local recipes = require 'tests.lua.support.recipes'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local expect = require 'tests.lua.support.expect'

local names = { 'no_cot-1', 'no_cot-2', 'icot-1', 'icot-2' }

local function folder_with(more)
  return recipes.folder_with(recipes.tiny('seeds = { 1, 2 }, ' .. (more or '')))
end

local icot = program.run_in

local function models(folder)
  local bytes = {}
  for i, name in ipairs(names) do
    bytes[i] = small.model_bytes(('%s/results/mine/%s.h5'):format(folder, name))
  end
  return bytes
end

local function index_of(folder)
  return small.read(folder .. '/results/mine.h5')
end

-- The status of each run in the index, by name.
local function states(index)
  local states_of, at = {}, {}
  for i, name in ipairs(index.tables.summary.columns) do at[name] = i end
  for _, row in ipairs(index.tables.summary.rows) do
    states_of[('%s-%d'):format(row[at.arm], row[at.seed])] = row[at.status]
  end
  return states_of
end

local all_finished = {}
for _, name in ipairs(names) do all_finished[name] = 'finished' end

describe('icot study', function()
  after_each(temporary.clean)

  it('gives the bits and the index of the same study in one process', function()
    local apart, together = folder_with(), folder_with()
    local one = icot(together, 'mine.lua', '--threads', '1')
    local result = icot(apart, 'study', 'mine.lua', '--jobs', '2', '--threads', '2')
    assert.equal(0, result.code, result.err)
    assert.is_true(table.concat(models(apart)) == table.concat(models(together)))
    local function without_time(out) return (out:gsub('%d+s\n', '\n'):gsub('time', '')) end
    assert.equal(without_time(one.out), without_time(result.out))
    local index = index_of(apart)
    assert.equal('finished', index.attributes.end_state)
    assert.same(all_finished, states(index))
    assert.equal(2, #index.tables.arms.rows)
    assert.equal('finished', index.runs['icot-2'].run.attributes.end_state)
  end)

  it('has runs that are resumed from within their folder as well', function()
    local folder = folder_with()
    assert.equal(0, icot(folder, 'mine.lua', '--quiet').code)
    for place, run in pairs { ['results/mine'] = 'icot-2.h5', ['results/mine/icot-2'] = '../icot-2.h5' } do
      local resumed = icot(folder .. '/' .. place, '--resume', run)
      assert.equal(0, resumed.code, resumed.err)
      expect.mentions(resumed.err, 'already finished')
    end
  end)

  it('tells what happens line by line, and leaves the rest to logs', function()
    local folder = folder_with()
    local result = icot(folder, 'study', 'mine.lua', '--jobs', '4', '--threads', '4')
    expect.mentions(result.err, 'icot seed 1    started with 1 thread, log results/mine/icot-1.log\n',
                    'icot seed 1    valid: step 6, removed 5 of 8, accuracy', 'no_cot seed 2  finished, accuracy 0.')
    expect.mentions(temporary.read(folder .. '/results/mine/icot-1.log'), 'icot seed 1  step 12/12')
    assert.is_nil(result.err:find('step 12/12', 1, true))
    local quiet = icot(folder, 'study', 'mine.lua', '--force', '--quiet', '--jobs', '2', '--memory', '0.001')
    assert.same({ 0, '' }, { quiet.code, quiet.err })
  end)

  it('tells of a run that fails, and goes on with the others', function()
    local folder = folder_with()
    local result = icot(folder, 'study', 'mine.lua', '--jobs', '2', '--quiet', '--set',
                        'arms.no_cot.divergence.loss_above=1e-3')
    assert.equal(1, result.code)
    local problem = 'icot: no_cot seed %d: [^\n]*loss[^\n]*'
    assert.matches('^' .. problem:format(1) .. '\n' .. problem:format(2) .. '\n$', result.err)
    assert.same({ ['no_cot-1'] = 'failed', ['no_cot-2'] = 'failed', ['icot-1'] = 'finished', ['icot-2'] = 'finished' },
                states(index_of(folder)))
  end)

  it('is not started over while a run is at work, nor from a model that it would remove', function()
    local folder = folder_with()
    assert.equal(0, icot(folder, 'mine.lua', '--quiet').code)
    local before = table.concat(models(folder))
    local held = require('icot.engine.lock').take(folder .. '/results/mine/icot-1.h5')
    local locked = icot(folder, 'mine.lua', '--force')
    held:release()
    assert.equal(1, locked.code)
    expect.mentions(locked.err, 'results/mine/icot-1.h5.lock: is held by process')
    for _, model in ipairs { 'results/mine/no_cot-1', 'results/mine/no_cot-1/checkpoints/step-000000012' } do
      local own = icot(folder, 'mine.lua', '--force', '--set', 'arms.icot.model={"pretrained":"' .. model .. '"}')
      assert.equal(1, own.code)
      expect.mentions(own.err, 'icot seed 1: model.pretrained: ' .. model .. ' belongs to results/mine/no_cot-1.h5')
    end
    assert.is_true(before == table.concat(models(folder)))
  end)

  it('tells what is wrong with a dataset once, before it begins', function()
    local folder = folder_with()
    local result = icot(folder, 'mine.lua', '--set', 'arms.no_cot.model.context=3')
    assert.equal(1, result.code)
    assert.matches('^icot: no_cot seed 1: model.context: the longest example has [^\n]*\n$', result.err)
    assert.is_nil(temporary.read(folder .. '/results/mine.h5'))
  end)

  it('refuses what is no study, and a recipe that is another one each time', function()
    local folder = folder_with()
    temporary.write(folder .. '/single.lua', (recipes.tiny():gsub('arms = .*', '}')))
    local single = icot(folder, 'study', 'single.lua')
    assert.same({ code = 1, out = '', err = 'icot: recipe single.lua: it has no arms, seeds or grid, so it is not a '
                  .. 'study; run it with icot single.lua\n' }, single)
    local fickle = icot(folder_with [[optimizer = { lr = 1e-4 + 1e-9 * io.open('/proc/self/stat'):read('*n') },]],
                        'study', 'mine.lua', '--quiet') -- a number of the process
    assert.equal(1, fickle.code)
    expect.mentions(fickle.err, 'gave another configuration when it was read again')
  end)

  it('refuses a wrong command line', function()
    for _, each in ipairs {
      { '--jobs', '0', "--jobs: got '0', expected an integer from 1 to 1024" },
      { '--memory', 'much', "--memory: got 'much', expected a number above 0" },
    } do
      local result = icot(nil, 'study', 'x.lua', each[1], each[2])
      assert.same({ 2, 'icot: ' .. each[3] .. ' (see icot study --help)\n' }, { result.code, result.err })
    end
  end)

  -- Starts a study of longer runs, does something ($study is its process) once one trains, and waits for its end.
  local longer = "optimizer = { lr = 1e-3 },"
  local settings = '--set train.steps=600 --set train.evaluate_every=50'
  local function while_it_trains(folder, action)
    return program.shell(([[cd %s
      %s study mine.lua --jobs 2 --threads 2 %s &
      study=$!
      for wait in $(seq 2000); do grep -q step results/mine/no_cot-2.log && break; sleep 0.05; done 2>/dev/null
      %s
      wait $study]]):format(folder, program.icot, settings, action))
  end

  -- The same study, never stopped.
  local function expected_models()
    local folder = folder_with(longer)
    assert.equal(0, program.shell(('cd %s; %s mine.lua --threads 1 %s'):format(folder, program.icot, settings)).code)
    return models(folder)
  end

  local function resume(folder, more)
    return program.shell(('cd %s; %s study --resume results/mine.h5 --jobs 2 --threads 2 %s'):format(
      folder, program.icot, more or ''))
  end

  it('ends all runs in order on a signal, and goes on from there', function()
    local folder = folder_with(longer)
    local result = while_it_trains(folder, 'kill -INT $study')
    assert.equal(130, result.code, result.err)
    expect.mentions(result.err, 'icot: stopping after this step', ' interrupted after ')
    expect.mentions(result.out, '\nresume    icot study --resume results/mine.h5 --jobs 2 --threads 2\n')
    local index = index_of(folder)
    assert.equal('interrupted', index.attributes.end_state)
    local seen = states(index)
    assert.same({ 'interrupted', nil }, { seen['no_cot-2'], seen['icot-2'] })
    assert.equal('interrupted', index.runs['no_cot-2'].run.attributes.end_state)

    temporary.write(folder .. '/mine.lua', 'the recipe is not needed any more')
    local log = folder .. '/results/mine/no_cot-2.log'
    local before = temporary.read(log)
    local resumed = resume(folder)
    assert.equal(before, temporary.read(log):sub(1, #before)) -- goes on as well
    assert.equal(0, resumed.code, resumed.err)
    expect.mentions(resumed.err, 'resumed from the checkpoint of step')
    assert.same(all_finished, states(index_of(folder)))

    local other = resume(folder, '--seed 9') -- its index would lose the runs with the other seed
    assert.equal(1, other.code)
    expect.mentions(other.err, 'results/mine.h5: its run results/mine/icot-1.h5 is no longer part of the study')
    assert.same(all_finished, states(index_of(folder)))
    assert.is_true(table.concat(expected_models()) == table.concat(models(folder)))
  end)

  -- The process that is at work on a run.
  local owner = "sed 's/[^0-9]*\\([0-9]*\\).*/\\1/' results/mine/no_cot-2.h5.lock"

  it('that is started over has nothing left of what was there, also where it is broken off and resumed', function()
    local folder = folder_with(longer)
    assert.equal(0, icot(folder, 'study', 'mine.lua', '--jobs', '2', '--quiet').code)
    local before = table.concat(models(folder))
    local result = program.shell(([[cd %s
      %s study mine.lua --force --jobs 1 %s &
      study=$!
      for wait in $(seq 2000); do grep -q 'step 50' results/mine/no_cot-2.log && break; sleep 0.05; done 2>/dev/null
      kill -INT $study
      wait $study]]):format(folder, program.icot, settings))
    assert.equal(130, result.code, result.err)
    assert.is_nil(temporary.read(folder .. '/results/mine/icot-2.h5')) -- whose turn had not come
    assert.equal(0, resume(folder).code)
    assert.is_true(before ~= table.concat(models(folder)))
  end)

  it('tells of a run whose process was killed, goes on with the others, and resumes that one', function()
    local folder = folder_with(longer)
    local result = while_it_trains(folder, ('kill -KILL $(%s)'):format(owner))
    assert.equal(1, result.code, result.err)
    assert.matches(
      'no_cot seed 2: its process ended with signal 9; the last line of its log: "no_cot seed 2  [^\n]*"\n',
                   result.err)
    local seen = states(index_of(folder))
    assert.same({ 'failed', 'finished' }, { seen['no_cot-2'], seen['icot-2'] })
    local resumed = resume(folder)
    assert.equal(0, resumed.code, resumed.err)
    assert.same(all_finished, states(index_of(folder)))
  end)

  for how, command in pairs {
    ['in processes'] = 'study --resume results/mine.h5 --jobs 2 --threads 2', ['in turn'] = '--resume results/mine.h5',
  } do
    it('goes on at once after it was killed: its runs wait for those that are still at work, ' .. how, function()
      local folder = folder_with(longer)
      local left = while_it_trains(folder, ([[left=$(%s)
        kill -KILL $study
        wait $study # one that is stopped already when it is orphaned is sent SIGHUP and SIGCONT
        kill -STOP $left
        echo $left]]):format(owner)).out
      local resumed = program.shell(([[cd %s
        %s %s 2> said &
        study=$!
        for wait in $(seq 2000); do grep -q 'no_cot seed 2  waiting up to' said && break; sleep 0.05; done
        kill -CONT %d
        wait $study
        code=$?
        cat said >&2
        exit $code]]):format(folder, program.icot, command, tonumber(left)))
      assert.equal(0, resumed.code, resumed.err)
      expect.mentions(resumed.err,
                      'no_cot seed 2  waiting up to 60 s: results/mine/no_cot-2.h5.lock: is held by process')
      assert.same(all_finished, states(index_of(folder)))
    end)
  end

  it('is warned by its runs, even if it is quiet', function()
    local folder = folder_with()
    assert.equal(0, icot(folder, 'study', 'mine.lua', '--quiet').code)
    local list = require('icot.saved.checkpoint').list(folder .. '/results/mine/icot-2/checkpoints')
    temporary.write(list[#list].path .. '/checkpoint.json', '{')
    local resumed = icot(folder, 'study', 'mine.lua', '--resume', '--quiet')
    assert.equal(0, resumed.code, resumed.err)
    assert.matches('^icot seed 2 +checkpoint of step 12 cannot be used: [^\n]*\n$', resumed.err)
  end)

  it('ends the others in order if a result cannot be taken in, and tells the first reason', function()
    local folder, installation, calls = folder_with(), require 'icot.base.installation', 0
    local whole = require('icot.recipe').load(folder .. '/mine.lua', { output = folder .. '/mine.h5' })
    require('icot.study.checks').outputs(whole)
    installation.prefix = program.icot:gsub('/bin/icot$', '')
    finally(function() installation.prefix = nil end)
    local silent = { write = function() end, flush = function() end }
    local ok, problem = pcall(require('icot.study.jobs').run, whole, { jobs = 2, err = silent, quiet = true },
      require('icot.study.run_queue').new(whole.runs), function()
        calls = calls + 1
        error('no ' .. calls, 0)
      end)
    assert.same({ false, 'no 1', 1 }, { ok, problem, calls })
    assert.equal('', program.shell(("find %s/mine -name '*.lock'"):format(folder)).out)
  end)

  it('leaves no run at work when it is killed itself', function()
    local folder = folder_with(longer)
    while_it_trains(folder, [[kill -KILL $study
      for wait in $(seq 2000); do find results/mine -name '*.lock' | grep -q . || break; sleep 0.05; done]])
    local left = program.shell(("find %s/results/mine -name '*.lock'"):format(folder))
    assert.equal('', left.out)
    local resumed = resume(folder)
    assert.equal(0, resumed.code, resumed.err)
    expect.mentions(resumed.err, 'resumed from the checkpoint of step')
    assert.same(all_finished, states(index_of(folder)))
  end)
end)
