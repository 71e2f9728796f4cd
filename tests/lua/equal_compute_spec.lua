--- Budgets of tokens and FLOPs, and arms that get as much as another one used.
local budget = require 'icot.training.budget'
local json = require 'icot.base.json'
local expect = require 'tests.lua.support.expect'
local matching = require 'icot.study.matching'
local program = require 'tests.lua.support.program'
local recipes = require 'tests.lua.support.recipes'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local tiny = require 'tests.lua.support.tiny'

describe('a budget', function()
  after_each(temporary.clean)

  it('expects what the updates so far let expect, and ends when it is used up', function()
    local tokens = budget.new({ tokens = 1000 }, 5)
    assert.equal(77, tokens:total_steps(0, 0, { tokens = 0 }, 77))
    assert.equal(10, tokens:total_steps(1, 0, { tokens = 100 }, 77))
    assert.equal(13, tokens:total_steps(4, 0, { tokens = 320 }, 10)) -- 12.5
    assert.equal(12, tokens:total_steps(11, 0, { tokens = 999 }, 11))
    assert.equal(12, tokens:total_steps(12, 0, { tokens = 1000 }, 12))
    assert.equal(12, tokens:total_steps(12, 0, { tokens = 1090 }, 12))
  end)

  it('counts updates that were left out like the others, so that it comes to an end', function()
    local tokens = budget.new({ tokens = 1000 }, 5)
    assert.equal(10, tokens:total_steps(4, 3, { tokens = 100 }, 7))
    assert.equal(10, tokens:total_steps(10, 5, { tokens = 500 }, 10))
    assert.equal(7, tokens:total_steps(7, 7, { tokens = 0 }, 7))
  end)

  it('is guessed at first with no more examples in a batch than there are', function()
    local data = tiny.dataset()
    local of_all, of_more = budget.new({ tokens = 1000 }, 1), budget.new({ tokens = 1000 }, 1)
    local function guess(limit, batch)
      return limit:first_guess({ method = 'icot', train = { batch = batch } }, nil, data)
    end
    assert.equal(guess(of_all, data.train:size()), guess(of_more, 100 * data.train:size()))
    data:free()
  end)

  it('of updates or passes is a number of updates', function()
    assert.equal(40, budget.new({ steps = 40 }, 5):total_steps(3, 0, {}, 40))
    assert.equal(15, budget.new({ epochs = 3 }, 5).amount)
  end)

  for kind, amount in pairs { tokens = 12000, flops = 2.5e8 } do
    it(('of %s is met by the update that reaches it, with the rate decayed to the end'):format(kind), function()
      local ok, result, path = small.train {
        settings = { ('train.%s=%g'):format(kind, amount), 'train.log_every=1', 'optimizer.decay=linear' },
      }
      assert.is_true(ok, tostring(result))
      local run = small.read(path)
      local used, lr = small.column(run.tables.train, kind), small.column(run.tables.train, 'lr')
      assert.equal(result.updates, #used)
      assert.is_true(used[#used] >= amount and used[#used - 1] < amount)
      assert.equal(result.updates, run.attributes.total_steps)
      assert.is_true(result.updates > 20)
      for i = 2, #lr do assert.is_true(lr[i] < lr[i - 1] + 1e-5) end
      assert.is_true(lr[1] == 1e-3 and lr[#lr] < 1e-3 * 3 / #lr)
    end)
  end

  it('is the same for a run that was stopped and resumed', function()
    local changes = { settings = { 'train.tokens=12000', 'train.log_every=1', 'optimizer.decay=cosine',
                                   'checkpoint.every_steps=7' } }
    local _, whole, path = small.train(changes)
    local rates, bytes = small.column(small.read(path).tables.train, 'lr'),
                         small.model_bytes(path)
    changes.folder, changes.progress = temporary.folder(), setmetatable({
      update = function(_, state) if state.step == 25 then error('stopped') end end,
    }, { __index = small.silent })
    assert.is_false((small.train(changes)))
    changes.progress = nil
    local _, result, resumed = small.train(changes, { resume = true })
    assert.equal(whole.updates, result.updates)
    assert.same(rates, small.column(small.read(resumed).tables.train, 'lr'))
    assert.is_true(bytes == small.model_bytes(resumed))
  end)
end)

local text = [[return {
  method = 'icot', dataset = { task = 'multiplication', digits = 2, train = 64, valid = 8, test = 8 },
  model = { layers = 1, heads = 2, width = 16 }, schedule = { kind = 'linear', steps_per_token = 2 },
  train = { steps = 30, batch = 8, log_every = 1, evaluate_every = 10 }, evaluate = { examples = 8, batch = 8 },
  arms = { { name = 'no_cot', method = 'no_cot' }, { name = 'icot' } }, seeds = { 1, 2 },
  match = 'tokens', match_arm = 'icot', %s }]]

local function folder_with(more)
  return recipes.folder_with(text:format(more or ''))
end

local function load(more, ...)
  return recipes.load(folder_with(more) .. '/mine.lua', { ... })
end

describe('arms that are matched', function()
  after_each(temporary.clean)

  it('wait for the run with their seed, at their point of the grid', function()
    local function waits(loaded)
      local list = {}
      for i, run in ipairs(loaded.runs) do list[i] = run.waits_for and run.waits_for[1].number or 0 end
      return list
    end
    assert.same({ 3, 4, 0, 0 }, waits(load()))
    local grid = 'grid = { train = { batch = { 4, 8 } } },'
    assert.same({ 5, 6, 7, 8, 0, 0, 0, 0 }, waits(load(grid)))
    assert.same({ 5, 6, 5, 6, 0, 0, 5, 6 }, waits(load(grid, 'match_arm=icot,batch=4')))
  end)

  it('are refused where the other arm is unknown, or not a single one', function()
    local function assert_refused(message, ...) expect.mentions(expect.user_error(load, ...), message) end
    assert_refused("match_arm: there is no arm 'icott'; did you mean icot?", '', 'match_arm=icott')
    assert_refused('match and match_arm: give both or neither', '', 'match_arm=nil')
    assert_refused("match: got 'steps', expected 'updates', 'tokens' or 'flops'", '', 'match=steps')
    assert_refused("match_arm: 'icot' stands for several arms, none of which fits 'a'; name one", [[arms = {
      { name = 'a', method = 'no_cot' }, { name = 'icot', grid = { train = { batch = { 4, 8 } } } } },]])
    local with_own = "arms = { { name = 'a', method = '%s', train = { steps = 9 } }, { name = 'icot' } },"
    assert_refused('arms.a.train.steps: match gives the arm as many tokens as icot',
                   with_own:format('no_cot'))
    local plain = "arms = { { name = 'a', method = 'no_cot' }, { name = 'icot' } },"
    assert_refused('arms.a.train.steps: match gives the arm as many tokens as icot', plain, 'arms.a.train.steps=9')
    assert_refused('arms.a.train.epochs: match gives the arm as many tokens as icot',
                   [[arms = { { name = 'a', method = 'no_cot', grid = { train = { epochs = { 1, 2 } } } },
                              { name = 'icot' } },]])
    assert(load(with_own:format('icot_kd'))) -- the length of its teacher, student and emulator
    assert(load([[arms = { { name = 'icot', train = { steps = 9 }, grid = { optimizer = { lr = { 1e-3, 1e-4 } } } },
      { name = 'a', method = 'no_cot' } },]], 'match_arm=icot,lr=0.001'))
  end)

  -- Columns of the summary: name of the run → value.
  local function summary(folder)
    local found = small.read(folder .. '/results/mine.h5').tables.summary
    local names, rows = small.column(found, 'arm'), {}
    for i, seed in ipairs(small.column(found, 'seed')) do
      local row = {}
      for _, column in ipairs(found.columns) do row[column] = small.column(found, column)[i] end
      rows[names[i] .. seed] = row
    end
    return rows
  end

  it('use as many tokens as the other arm, one after another or in processes', function()
    local folder = folder_with()
    local result = program.run_in(folder, 'mine.lua', '--quiet', '--threads', '1')
    assert.equal(0, result.code, result.err)
    local rows = summary(folder)
    for seed = 1, 2 do
      local wanted, got = rows['icot' .. seed], rows['no_cot' .. seed]
      local per_update = got.tokens / got.updates
      assert.is_true(got.tokens >= wanted.tokens and got.tokens < wanted.tokens + 1.2 * per_update)
      assert.is_true(got.updates > wanted.updates)
      local config = json.decode(small.read(('%s/results/mine/no_cot-%d.h5'):format(folder, seed)).texts.config)
      assert.same({ wanted.tokens, nil }, { config.train.tokens, config.train.steps })
    end
    local apart = folder_with()
    result = program.run_in(apart, 'study', 'mine.lua', '--quiet', '--jobs', '2', '--threads', '2')
    assert.equal(0, result.code, result.err)
    for _, name in ipairs { 'no_cot-1', 'no_cot-2', 'icot-1', 'icot-2' } do
      local run = ('/results/mine/%s.h5'):format(name)
      assert.is_true(small.model_bytes(folder .. run) == small.model_bytes(apart .. run), name)
    end
  end)

  it('can match updates and FLOPs', function()
    for match, field in pairs { updates = 'updates', flops = 'flops' } do
      local folder = folder_with "arms = { { name = 'icot' }, { name = 'e', method = 'explicit_cot' } },"
      local result = program.run_in(folder, 'mine.lua', '--quiet', '--set', 'match=' .. match, '--set', 'seeds=[1]')
      assert.equal(0, result.code, result.err)
      local rows = summary(folder)
      assert.is_true(rows.e1[field] >= rows.icot1[field] and rows.e1[field] < 1.1 * rows.icot1[field])
    end
  end)

  it('do not start where there is nothing to match', function()
    local folder = folder_with()
    for _, command in ipairs { { 'mine.lua' }, { 'study', 'mine.lua', '--jobs', '2', '--force' } } do
      for _, more in ipairs { '--quiet', '--set', 'arms.icot.divergence.loss_above=1e-3' } do
        command[#command + 1] = more
      end
      local result = program.run_in(folder, unpack(command))
      assert.equal(1, result.code)
      expect.mentions(result.err, 'icot: icot seed 1: ', 'loss',
                      'icot: no_cot seed 1: not started: it was to match the tokens of icot seed 1, which failed\n')
    end
  end)

  it('are resumed with what they were given', function()
    local folder = folder_with()
    assert.equal(0, program.run_in(folder, 'mine.lua', '--quiet').code)
    local before = small.model_bytes(folder .. '/results/mine/no_cot-2.h5')
    local again = program.run_in(folder, '--resume', 'results/mine.h5')
    assert.equal(0, again.code, again.err)
    expect.mentions(again.err, 'no_cot seed 2  already finished')
    local one = program.run_in(folder, '--resume', 'results/mine/no_cot-2.h5')
    assert.equal(0, one.code, one.err)
    expect.mentions(one.err, 'already finished')
    assert.is_true(before == small.model_bytes(folder .. '/results/mine/no_cot-2.h5'))
  end)
end)

describe('a budget that is used up', function()
  it('nothing is left to match where the steps took as much', function()
    local run = { match = { what = 'tokens', of = { 1 }, less = { 2 } } }
    assert.matches('not started', select(2, matching.give(run, { { tokens = 50 }, { tokens = 50 } })))
  end)
end)
