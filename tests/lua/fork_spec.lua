--- Runs that begin where another one was.
local checkpoint = require 'icot.saved.checkpoint'
local expect = require 'tests.lua.support.expect'
local files = require 'icot.base.files'
local lfs = require 'lfs'
local program = require 'tests.lua.support.program'
local run_paths = require 'icot.results.run_paths'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

-- A run that keeps the ends of its stages, after the updates 14, 16, … 28, and the path of its checkpoint of a step.
local function train_trunk(changes)
  changes = changes or {}
  changes.settings = changes.settings or {}
  table.insert(changes.settings, 'checkpoint.keep.stages=all')
  local ok, result, path = small.train(changes)
  assert(ok, tostring(result))
  return path, function(step) return checkpoint.path(run_paths.checkpoint_folder(path), step) end, result
end

local function with_fork(from, ...)
  return { 'fork_from=' .. from, ... }
end

local function refusal(from)
  local ok, problem = small.train { settings = with_fork(from) }
  assert.is_false(ok)
  return problem.message
end

describe('a fork', function()
  after_each(temporary.clean)

  it('with nothing else than its trunk has ends with the same bits, rows of the trunk among them', function()
    local path, at = train_trunk { optimizer = ", reset = 'keep', warmup_steps = 5", model = ', dropout = 0.1' }
    for _, step in ipairs { 14, 20, 28 } do
      local ok, result, forked = small.train {
        optimizer = ", reset = 'keep', warmup_steps = 5", model = ', dropout = 0.1', settings = with_fork(at(step)),
      }
      assert.is_true(ok, tostring(result))
      assert.same(small.rows(path), small.rows(forked))
      assert.equal(small.model_bytes(path), small.model_bytes(forked))
    end
  end)

  it('shares the rows until then, and tells where it comes from and what is new', function()
    local path, at, whole = train_trunk()
    local ok, result, forked = small.train { settings = with_fork(at(20), 'optimizer.lr=1e-4') }
    assert.is_true(ok, tostring(result))
    local before, now = small.rows(path).train.rows, small.rows(forked).train.rows
    assert.same({ before[1], before[2] }, { now[1], now[2] })
    assert.is_true(before[3][4] ~= now[3][4]) -- the loss
    assert.same({ whole.updates, whole.tokens }, { result.updates, result.tokens })
    local read = small.read(forked)
    assert.same({ at(20), 20 }, { read.attributes.fork_from, read.attributes.fork_step })
    assert.same({ 0, 20 }, small.column(read.tables.segments, 'step'))
    assert.equal('forked', small.column(read.tables.segments, 'stopped_by')[2])
    expect.mentions(small.column(read.tables.segments, 'changes')[2], 'optimizer.lr: 0.001, now 0.0001', at(20))
  end)

  it('goes on from the end of a run that is over', function()
    local _, at = train_trunk()
    local ok, result, forked = small.train { settings = with_fork(at(40), 'train.steps=60', 'seed=4') }
    assert.is_true(ok, tostring(result))
    assert.equal(60, result.updates)
    assert.same({ 10, 20, 30, 40, 50, 60 }, small.column(small.read(forked).tables.train, 'step'))
  end)

  it('is not over at once where the run before it has ended as collapsed', function()
    local doomed = {
      'train.evaluate_every=5', 'train.stop_on_collapse.below=1', 'train.stop_on_collapse.evaluations=2',
    }
    local _, at, result = train_trunk { settings = { unpack(doomed) } }
    assert.same({ 'collapsed', 35 }, { result.status, result.updates })
    local ok, again = small.train { settings = with_fork(at(35), 'train.steps=60', unpack(doomed)) }
    assert.is_true(ok, tostring(again))
    assert.same({ 'collapsed', 45 }, { again.status, again.updates }) -- after two evaluations of its own
  end)

  it('is resumed from its own checkpoints, of which the first is that where it began, whatever became of the trunk',
    function()
      local path, at = train_trunk()
      local changes = {
        folder = temporary.folder(), settings = with_fork(at(20), 'checkpoint.every_minutes=false'),
        schedule = [[function(state)
          if STOP and state.step == STOP then error('stopped') end
          return math.max(0, state.step - 12) / 2
        end]],
      }
      local _, _, undisturbed = small.train { settings = changes.settings, schedule = changes.schedule }
      for _, stop in ipairs { 21, 36 } do
        rawset(_G, 'STOP', stop)
        local ok, problem = small.train(changes, { resume = true })
        rawset(_G, 'STOP', nil)
        assert.is_false(ok)
        expect.mentions(problem.message, 'stopped')
      end
      files.remove_tree(run_paths.checkpoint_folder(path))
      local ok, result, forked = small.train(changes, { resume = true })
      assert.is_true(ok, tostring(result))
      assert.same(small.rows(undisturbed), small.rows(forked))
      assert.equal(small.model_bytes(undisturbed), small.model_bytes(forked))
    end)

  it('at a stage end begins with moments where these were kept, and says so where they were not', function()
    for _, kept in ipairs { true, false } do
      local warnings = {}
      local path, at = train_trunk { settings = { 'checkpoint.keep.moments=' .. tostring(kept) } }
      local progress = setmetatable({ warn = function(_, text) warnings[#warnings + 1] = text end },
                                    { __index = small.silent })
      local at_stage_end = at(14) -- update 15 is the first of the stage with one token removed
      assert.equal(kept, files.kind(at_stage_end .. '/moments.safetensors') == 'file')
      local ok, result, forked = small.train { settings = with_fork(at_stage_end), progress = progress }
      assert.is_true(ok, tostring(result))
      assert.equal(small.model_bytes(path), small.model_bytes(forked)) -- which resets them
      assert.same({}, warnings)
      assert(small.train { settings = with_fork(at_stage_end, 'optimizer.reset=keep'), progress = progress })
      assert.equal(kept and 0 or 1, #warnings)
      if not kept then expect.mentions(warnings[1], at_stage_end, 'has no moments', 'checkpoint.keep.moments') end
    end
  end)

  it('can go back to the stage at whose end it begins', function()
    local back_once = [[function(state)
      local step = state.step
      if step == 24 then return 2, 'rollback' end
      return step < 8 and 0 or step < 16 and 2 or step < 24 and 5 or 2
    end]]
    local path, at = train_trunk { schedule = back_once }
    local ok, result, forked = small.train { schedule = back_once, settings = with_fork(at(16)) }
    assert.is_true(ok, tostring(result))
    assert.same(small.rows(path), small.rows(forked))
    assert.equal(small.model_bytes(path), small.model_bytes(forked))
  end)

  it('can go back to a stage that has ended before it, as long as the trunk is there', function()
    local back_once = [[function(state)
      local step = state.step
      if step == 24 then return 2, 'rollback' end
      return step < 8 and 0 or step < 16 and 2 or 5
    end]]
    local path, at = train_trunk { schedule = back_once, settings = { 'train.steps=20' } } -- ends within a stage
    local ok, result, forked = small.train { schedule = back_once, settings = with_fork(at(20)) }
    assert.is_true(ok, tostring(result))
    assert.same({ 8, 16, 24, 25 }, small.column(small.read(forked).tables.events, 'step'))
    local _, _, between = small.train {
      schedule = back_once, settings = with_fork(at(20), 'train.steps=22'),
    }
    local last = checkpoint.path(run_paths.checkpoint_folder(between), 22)
    assert.is_true((small.train { schedule = back_once, settings = with_fork(last) })) -- a fork of a fork
    files.remove_tree(run_paths.checkpoint_folder(path) .. '/step-000000016')
    local again, problem = small.train { schedule = back_once, settings = with_fork(at(20)) }
    assert.is_false(again)
    expect.mentions(problem.message, 'no checkpoint of it was kept')
  end)

  it('asks for what is removed anew where the method is another one', function()
    local path, at = train_trunk { settings = { 'method=explicit_cot' } }
    local ok, result, forked = small.train { settings = with_fork(at(40), 'method=no_cot', 'train.steps=50') }
    assert.is_true(ok, tostring(result))
    local before, now = small.read(path).tables.train, small.read(forked).tables.train
    local function tokens_of_last(rows, interval)
      local tokens = small.column(rows, 'tokens')
      return tokens[interval] - tokens[interval - 1]
    end
    local without = tokens_of_last(before, 4) - 10 * 20 * 8 -- ten updates of 20 examples, each with a CoT of 8 tokens
    assert.equal(without, tokens_of_last(now, 5))
  end)

  it('counts the seconds on, from its first checkpoint on', function()
    local _, at = train_trunk()
    local function seconds(path) return checkpoint.read_description(path).state.meter.seconds end
    local ok, result, forked = small.train { settings = with_fork(at(20), 'checkpoint.keep.stages=all') }
    assert.is_true(ok, tostring(result))
    local first = checkpoint.path(run_paths.checkpoint_folder(forked), 20)
    assert.is_true(seconds(first) > 0)
    assert.equal(seconds(at(20)), seconds(first))
  end)

  it('takes no rate over that was lowered, if the recipe has another one', function()
    local _, at = train_trunk()
    local path = at(20) .. '/checkpoint.json'
    temporary.write(path, (temporary.read(path):gsub('"lr_scale": 1,', '"lr_scale": 0.25,')))
    for lr, expected in pairs { ['1e-3'] = 2.5e-4, ['1e-4'] = 1e-4 } do
      local ok, result, forked = small.train { settings = with_fork(at(20), 'optimizer.lr=' .. lr) }
      assert.is_true(ok, tostring(result))
      assert.is_near(expected, small.column(small.read(forked).tables.train, 'lr')[4], 1e-12)
    end
  end)

  it('asks another schedule anew, a function with what the one before it had kept', function()
    local counting = [[function(state)
      state.own.calls = (state.own.calls or 0) + 1
      CALLS = state.own.calls
      return state.step >= 20 and 1 or 0
    end]]
    rawset(_G, 'CALLS', 0)
    local _, at = train_trunk { schedule = counting }
    for _, each in ipairs { counting, '(' .. counting .. ')' } do -- as if it had not been asked at step 20 before
      rawset(_G, 'CALLS', 0)
      assert(small.train { schedule = each, settings = with_fork(at(20)) })
      assert.equal(40, rawget(_G, 'CALLS'))
    end
    rawset(_G, 'CALLS', nil)
    local ok, result, path = small.train { settings = with_fork(at(20)) } -- which is linear
    assert.is_true(ok, tostring(result))
    local last = checkpoint.path(run_paths.checkpoint_folder(path), 40)
    assert.is_nil(checkpoint.read_description(last).state.own.calls)
  end)

  it('is no fork where it would end at once, and takes no evaluation of another kind for its own', function()
    local _, at = train_trunk { settings = { 'method=explicit_cot' } }
    local path = at(40) .. '/checkpoint.json' -- says that it answers well
    temporary.write(path, (temporary.read(path):gsub('"accuracy": [%d.e-]+', '"accuracy": 0.9')))
    local function begin(method)
      return small.train {
        settings = with_fork(at(40), 'method=' .. method, 'train.steps=60', 'train.stop_at_accuracy=0.8'),
      }
    end
    local ok, problem = begin('explicit_cot')
    assert.is_false(ok)
    expect.mentions(problem.message, 'has already reached train.stop_at_accuracy')
    local trained, result = begin('no_cot')
    assert.is_true(trained, tostring(result))
    assert.equal(60, result.updates)
    assert.is_true(result.accuracy < 0.8)
  end)

  it('is one of each arm in a study, checked before the first begins', function()
    local path, at = train_trunk()
    local folder, recipe = temporary.folder(), path:gsub('%.h5$', '.lua')
    local function study(from, ...)
      return program.run {
        recipe, '--quiet', '--threads', '1', '--out', folder .. '/arms.h5', '--set', 'fork_from=' .. from,
        '--set', 'grid={"optimizer":{"lr":[1e-3,1e-4]}}', ...,
      }
    end
    local refused = study(at(15))
    assert.equal(1, refused.code)
    expect.mentions(refused.err, 'fork_from: ' .. at(15) .. ': there is no such checkpoint')
    assert.is_nil(files.kind(folder .. '/arms.h5'))
    local result = study(at(20))
    assert.equal(0, result.code, result.err)
    local first = small.rows(path).train.rows[1]
    for _, lr in ipairs { '0.001', '0.0001' } do
      assert.same(first, small.rows(('%s/arms/icot,lr=%s-3.h5'):format(folder, lr)).train.rows[1])
    end
    assert.equal(0, study(at(20), '--resume').code)
  end)

  it('is refused where there is nothing to begin with', function()
    local path, at = train_trunk()
    expect.mentions(refusal('nowhere'), 'fork_from: nowhere: there is no such checkpoint')
    expect.mentions(refusal(at(15)), 'there is no such checkpoint; name a checkpoint, such as ' .. at(14))
    expect.mentions(refusal(at(14):match('^(.*)/')), 'is a folder of checkpoints; name a checkpoint, such as')
    expect.mentions(refusal(temporary.folder()), 'is no checkpoint')
    for _, run in ipairs { path, (path:gsub('%.h5$', '')) } do
      expect.mentions(refusal(run), run .. ': is a run; name a checkpoint, such as ' .. at(14))
    end
    expect.mentions(refusal(at(40)), 'is of step 40, and train ends the run at step 40')
    local beginning = temporary.folder() .. '/step-000000000'
    os.execute(("cp -r '%s' '%s'"):format(at(14), beginning))
    local description = temporary.read(beginning .. '/checkpoint.json')
    temporary.write(beginning .. '/checkpoint.json', (description:gsub('"step": 14', '"step": 0')))
    expect.mentions(refusal(beginning), 'is the checkpoint of step 0')
    os.remove(at(14) .. '/model.safetensors')
    expect.mentions(refusal(at(14)), 'fork_from: ' .. at(14) .. '/model.safetensors: is missing')
  end)

  it('leaves what is there as it is if it cannot begin', function()
    local path, at = train_trunk()
    local folder, bytes, model = path:match('^(.*)/'), temporary.read(path), small.model_bytes(path)
    local function refused(...)
      local result = program.run({ 'small.lua', '--quiet', '--force', '--set', 'fork_from=' .. at(20), ... },
                                 { folder = folder })
      assert.equal(1, result.code)
      return result.err
    end
    assert(lfs.link(at(20), folder .. '/linked', true))
    for _, way in ipairs {
      { '--out', path }, { '--out', './small.h5' }, { '--set', 'fork_from=linked', '--out', path },
      { '--set', 'fork_from=' .. at(20) .. '/.', '--out', path },
    } do
      expect.mentions(refused(unpack(way)), 'belongs to', 'in whose place the fork would go; give --out')
    end
    assert(bytes == temporary.read(path) and model == small.model_bytes(path))

    local other = { folder = temporary.folder(), settings = { 'model.context=60' } }
    local _, _, there = small.train(other)
    local wide = { settings = { 'model.context=60', 'checkpoint.keep.stages=all' } }
    local _, _, trunk = small.train(wide)
    bytes = temporary.read(there)
    other.settings = with_fork(checkpoint.path(run_paths.checkpoint_folder(trunk), 20), 'dataset.digits=3',
                               'model.context=60')
    local ok, problem = small.train(other, { overwrite = true })
    assert.is_false(ok)
    expect.mentions(problem.message, 'fork_from: ', "cannot make a run file with its rows")
    assert(bytes == temporary.read(there) and #checkpoint.list(run_paths.checkpoint_folder(there)) > 0)
  end)

  it('keeps its beginning, whatever else may change', function()
    local _, at = train_trunk()
    local changes = { folder = temporary.folder(), settings = with_fork(at(20)) }
    assert(small.train(changes))
    for now, said in pairs { [at(22)] = 'it is ' .. at(22) .. ' now', ['false'] = 'it is not given now' } do
      changes.settings = { 'fork_from=' .. now, 'train.steps=50' }
      local ok, problem = small.train(changes, { resume = true, allow_changes = true })
      assert.is_false(ok)
      expect.mentions(problem.message, 'and was ' .. at(20), said, '--force')
    end
    os.execute(("rm -r '%s'"):format(run_paths.checkpoint_folder(changes.folder .. '/small.h5')))
    changes.settings = with_fork(at(20))
    local ok, problem = small.train(changes, { resume = true })
    assert.is_false(ok)
    expect.mentions(problem.message, 'there is no checkpoint', '--force')
  end)

  it('is told at once that its schedule falls behind, before the preview as well', function()
    local path, at = train_trunk()
    local ok, problem = small.train { settings = with_fork(at(20), 'schedule.steps_per_token=8') }
    assert.is_false(ok)
    expect.mentions(problem.message, 'fork_from: ' .. at(20) .. ' has 3 removed at step 20', 'it must not fall')
    local function preview(...)
      return program.run { 'schedule', (path:gsub('%.h5$', '.lua')), '--set', 'fork_from=' .. at(20), ... }
    end
    expect.mentions(preview('--set', 'schedule.steps_per_token=8').err, 'it returned 1 after 3; it must not fall')
    expect.mentions(preview('--set', 'train.steps=20').err, 'is of step 20, and train ends the run at step 20')
    local shown = preview('--set', 'output=' .. path) -- in whose place it could not begin
    assert.equal(0, shown.code, shown.err)
    assert.matches('\n1 +4 +21 +2\n3 +5 %- 7 +23 +2\n', shown.out) -- stages, removed, from update, updates each
  end)

  it('of each seed may begin at a run with that seed', function()
    local folder = temporary.folder()
    for _, seed in ipairs { 3, 4 } do
      train_trunk { folder = ('%s/trunk-%d'):format(folder, seed), settings = { 'seed=' .. seed } }
    end
    for _, seed in ipairs { 3, 4 } do
      local from = folder .. '/trunk-{seed}/small/checkpoints/step-000000020'
      local ok, result, forked = small.train { settings = with_fork(from, 'seed=' .. seed) }
      assert.is_true(ok, tostring(result))
      assert.equal((from:gsub('{seed}', seed)), small.read(forked).attributes.fork_from)
      assert.same(small.rows(('%s/trunk-%d/small.h5'):format(folder, seed)), small.rows(forked))
    end
  end)

  it('is refused for another model, and for a chain of runs', function()
    local _, at = train_trunk()
    local ok, problem = small.train { settings = with_fork(at(20), 'model.width=32') }
    assert.is_false(ok)
    expect.mentions(problem.message, 'model.width: is 16 in the checkpoint', 'and would be 32 now')
    local other = { settings = with_fork(at(20), 'dataset={"task":"parity","bits":6}') }
    expect.mentions(select(2, small.train(other)).message, "was trained on the task 'multiplication', and dataset.task")
    local chain = { settings = with_fork(at(20), 'method=icot_kd') }
    expect.mentions(expect.user_error(small.run, chain), "fork_from: the method 'icot_kd' is a chain of runs")
  end)
end)
