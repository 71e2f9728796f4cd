--- icot.recipe: from a recipe's file, `--set` and arms to runs that are ready to start.
local json = require 'icot.base.json'
local overrides = require 'icot.recipe.overrides'
local recipe = require 'icot.recipe'
local expect = require 'tests.lua.support.expect'
local recipes = require 'tests.lua.support.recipes'
local temporary = require 'tests.lua.support.temporary'

local base = [[
  method = 'icot', dataset = { task = 'multiplication', digits = 3, train = 100, valid = 10, test = 10 },
  model = { layers = 2, heads = 4, width = 128 }, schedule = { kind = 'linear', steps_per_token = 80 },
  train = { epochs = 3 },
]]

local function write(text)
  return recipes.folder_with(text) .. '/mine.lua'
end

-- Loads a recipe of the fields above and some more; the further arguments are texts of `--set`.
local function load(more, ...)
  return recipes.load(write('return {' .. base .. (more or '') .. '}'), { ... })
end

-- The message of loading such a recipe, without the words that say where.
local function message(more, ...)
  local text = expect.user_error(load, more, ...)
  return (text:gsub('^recipe %S*mine%.lua', 'recipe'))
end

local function labels(loaded)
  local list = {}
  for i, run in ipairs(loaded.runs) do list[i] = run.arm .. '-' .. run.seed end
  return table.concat(list, ' ')
end

local arms = "arms = { { name = 'plain', method = 'no_cot', train = { steps = 50 } }, { name = 'slow' } },"

describe('recipe', function()
  after_each(temporary.clean)

  it('resolves a single run with all defaults', function()
    local loaded = load()
    assert.is_false(loaded.is_study)
    assert.equal(1, #loaded.runs)
    local run = loaded.runs[1]
    assert.same({ 'mine', 'icot', 42 }, { run.recipe, run.arm, run.seed })
    assert.same({ 'results/mine.h5', 'results/mine' }, { run.output, run.model_output })
    assert.same({ kind = 'linear', steps_per_token = 80 }, run.config.schedule)
    assert.same({
      side = 'left', smoothing = 4, smoothing_after = 0, positions = 'closed_up', replay = 0, unit = 'token',
    }, run.config.removal)
    assert.equal(5e-5, run.config.optimizer.lr)
    assert.equal(1, run.config.dataset.seed)
    assert.matches('steps_per_token = 80', run.source, 1, true)
  end)

  it('gives the configuration as JSON with sorted keys', function()
    local run = load("output = 'a/b.h5',").runs[1]
    local decoded = json.decode(run.config_json)
    assert.same(run.config, decoded)
    assert.matches('"output": "a/b.h5"', run.config_json, 1, true)
    assert.is_true(run.config_json:find('"method"') < run.config_json:find('"optimizer"'))
    assert.equal(run.config_json, load("output = 'a/b.h5',").runs[1].config_json)
  end)

  it('keeps a schedule that is a function, and names it in the JSON', function()
    local run = load('schedule = function(state) return state.step end,').runs[1]
    assert.equal(5, run.config.schedule { step = 5 })
    assert.matches('^function at .*mine%.lua:%d+$', json.decode(run.config_json).schedule)
  end)

  it('expands arms and seeds in order', function()
    local loaded = load(arms .. 'seeds = { 1, 2 },')
    assert.is_true(loaded.is_study)
    assert.equal('plain-1 plain-2 slow-1 slow-2', labels(loaded))
    assert.equal('results/mine.h5', loaded.output)
    assert.equal('results/mine/slow-2.h5', loaded.runs[4].output)
    assert.equal('results/mine/slow-2', loaded.runs[4].model_output)
    assert.equal('no_cot', loaded.runs[1].config.method)
  end)

  it('makes a study of seeds alone', function()
    local loaded = load('seeds = { 5, 6 },')
    assert.is_true(loaded.is_study)
    assert.equal('icot-5 icot-6', labels(loaded))
  end)

  it('lays an arm over the recipe: an alternative takes the place of the other', function()
    local loaded = load(arms)
    assert.same({ 50, nil }, { loaded.runs[1].config.train.steps, loaded.runs[1].config.train.epochs })
    assert.equal(3, loaded.runs[2].config.train.epochs)
  end)

  it('drops the schedule where the method has none, and with it earlier stages', function()
    local runs = load(arms, 'removal.replay=0.5').runs
    assert.same({ nil, 0 }, { runs[1].config.schedule, runs[1].config.removal.replay })
    assert.equal(0.5, runs[2].config.removal.replay)
  end)

  it('takes a preset', function()
    local model = load("", 'model.preset=small').runs[1].config.model
    assert.same({ 12, 12, 768 }, { model.layers, model.heads, model.width })
  end)

  describe('settings', function()
    it('have types', function()
      local loaded = load('', 'optimizer.lr=1e-3', 'optimizer.reset=keep', 'optimizer.clip=false')
      local optimizer = loaded.runs[1].config.optimizer
      assert.same({ 1e-3, 'keep', false }, { optimizer.lr, optimizer.reset, optimizer.clip })
      assert.equal('12', load('', 'name="12"').runs[1].config.name)
      assert.equal('icot-4 icot-9', labels(load('', 'seeds=[4,9]')))
      assert.is_nil(load('train = { steps = 9, stop_at_accuracy = 0.5 },', 'train.stop_at_accuracy=nil')
        .runs[1].config.train.stop_at_accuracy)
    end)

    it('that take a field away leave what stands instead of it', function()
      assert.equal(9, load('train = { steps = 9 },', 'train.epochs=nil').runs[1].config.train.steps)
      assert.equal(7, load('seed = 7,', 'seeds=nil').runs[1].seed)
      local model = load('', 'model.pretrained=nil').runs[1].config.model
      assert.is_number(model.layers)
      assert.equal(1, #load('grid = { optimizer = { lr = { 1e-3, 2e-3 } } },', 'grid.optimizer.lr=nil').runs)
    end)

    it('cannot take away a field that there is not', function()
      for setting, problem in pairs {
        ['train.stop_at_acuracy=nil'] = 'is not a known field; did you mean train.stop_at_accuracy?',
        ['optimizer.lr.x=nil'] = 'optimizer.lr.x is not a known field; optimizer.lr has none of its own',
        ['arms.a.grid.nope=nil'] = 'nope is not a known field',
        ['foo=nil'] = 'foo is not a known field; known are: arms,',
        ['checkpoint.keep.stage=nil'] = 'checkpoint.keep.stage is not a known field; did you mean checkpoint.',
        ['arms.a.optimizer.lrr=nil'] = 'optimizer.lrr is not a known field; did you mean optimizer.lr?',
      } do
        expect.mentions(message("arms = { { name = 'a' } },", setting), problem)
      end
    end)

    it('reach all arms, after their own changes', function()
      for _, run in ipairs(load(arms, 'train.steps=7').runs) do
        assert.same({ 7, nil }, { run.config.train.steps, run.config.train.epochs })
      end
    end)

    it('reach one arm', function()
      local runs = load(arms, 'arms.slow.schedule.steps_per_token=40', 'train.steps=7', 'arms.slow.train.steps=8').runs
      assert.same({ 7, 8 }, { runs[1].config.train.steps, runs[2].config.train.steps })
      assert.equal(40, runs[2].config.schedule.steps_per_token)
    end)

    it('start a schedule of another kind anew', function()
      local schedule = load('', 'schedule.kind=front_loaded', 'schedule.duration_steps=10').runs[1].config.schedule
      assert.same({ kind = 'front_loaded', duration_steps = 10, power = 2 }, schedule)
    end)

    it('of the seed take the place of all seeds', function()
      assert.equal('icot-3', labels(load('seeds = { 1, 2 },', 'seed=3')))
      local path = write('return {' .. base .. arms .. 'seeds = { 1, 2 } }')
      local loaded = recipe.load(path, { seed = 7, output = 'elsewhere/x.h5' })
      assert.equal('plain-7 slow-7', labels(loaded))
      assert.equal('elsewhere/x/plain-7.h5', loaded.runs[1].output)
    end)

    it('have lists as in JSON, and say so', function()
      for _, value in ipairs { '{1,2}', '{ a = 1 }', '{lr=1}' } do
        local _, why = overrides.parse('seeds=' .. value)
        assert.equal(('--set seeds=%s: lists are written [1,2], tables {"key":1}'):format(value), why)
      end
      assert.same({ a = { 1, 2 } }, overrides.parse('x={ "a": [1,2]}').value)
    end)

    it('take no seed that would silently be another', function()
      assert.equal('recipe with --set seed=9007199254740993: seed: got 9007199254740992, '
        .. 'expected an integer from 0 to 9007199254740991', message('', 'seed=9007199254740993'))
    end)

    local wrong = { 'lr', '=3', 'a..b=3', '.a=3', 'a.=1', 'seeds=[1,', 'a b=1' }
    for _, text in ipairs(wrong) do
      it(('refuse %q'):format(text), function()
        local setting, why = overrides.parse(text)
        assert.is_nil(setting)
        assert.equal('--set ' .. text, why:sub(1, 6 + #text))
      end)
    end

    it('are shown on one line, and kept as they were given', function()
      assert.equal("--set a?b?=1: 'a?b?' is not the name of a field", (select(2, overrides.parse('a\nb\27=1'))))
      local setting = overrides.parse('name=a\nb')
      assert.equal('name=a\nb', setting.given)
      assert.equal('--set name=a?b', setting.text)
      assert.matches('removal%.arm%? is not a known field', message('', [[removal={"arm\n":1}]]))
    end)
  end)

  describe('refuses', function()
    local cases = {
      { 'an unknown field', 'optimizer = { rl = 1 },',
        'recipe: optimizer.rl is not a known field; did you mean optimizer.lr?' },
      { 'an unknown field at the top', 'metod = 1,', 'recipe: metod is not a known field; did you mean method?' },
      { 'a wrong value', 'train = { steps = 1, batch = -3 },',
        'recipe: train.batch: got -3, expected an integer of at least 1' },
      { 'what float32 does not hold', 'optimizer = { eps = 1e-50 },',
        'recipe: optimizer.eps: got 1e-50, expected a number of at least 1e-30' },
      { 'steps and epochs', 'train = { steps = 1, epochs = 1 },',
        'recipe: train: give either steps or epochs, not both' },
      { 'neither steps nor epochs', 'train = {},', 'recipe: train: give either steps or epochs (or tokens, or flops)' },
      { 'an unknown task', "dataset = { task = 'multiplicaton' },",
        'recipe: dataset.task: there is no datasets/multiplicaton.lua; did you mean multiplication?' },
      { 'a task that is a path', "dataset = { task = '../x' },",
        "recipe: dataset.task: got '../x', expected the name of a file in datasets/" },
      { "a dataset's option", "dataset = { task = 'multiplication', digit = 3 },",
        'recipe: dataset.digit is not a known field; did you mean dataset.digits?' },
      { 'an unknown schedule', "schedule = { kind = 'linaer' },",
        "recipe: schedule.kind: got 'linaer'; did you mean linear?" },
      { 'a schedule with two speeds', "schedule = { kind = 'linear', steps_per_token = 1, tokens_per_epoch = 1 },",
        'recipe: schedule: give either tokens_per_epoch or steps_per_token, not both' },
      { 'a schedule without a speed', "schedule = { kind = 'linear' },",
        'recipe: schedule: give either tokens_per_epoch or steps_per_token' },
      { 'a width that heads do not divide', 'model = { layers = 1, heads = 3, width = 128 },',
        'recipe: model.width: got 128, expected a multiple of model.heads (3)' },
      { 'a model without a size', 'model = { layers = 1, heads = 1 },',
        'recipe: model.width is missing (or give model.preset)' },
      { 'a preset with a size', "model = { preset = 'small', layers = 1 },",
        'recipe: model: give either preset or layers, not both' },
      { 'an unknown preset', "model = { preset = 'smal' },", "recipe: model.preset: got 'smal'; did you mean small?" },
      { 'an output that is no .h5', "output = 'results/',",
        "recipe: output: got 'results/', expected a path that ends in .h5" },
      { 'an output with a line break', "output = 'a\\nb.h5',",
        "recipe: output: got 'a?b.h5', expected a path without control characters" },
      { 'an output with a NUL', "output = 'a.h5\\0b.h5',",
        "recipe: output: got 'a.h5?b.h5', expected a path without control characters" },
      { 'a name that is a path', "name = '../mine',",
        "recipe: name: got '../mine', expected a name of letters, digits, - _ ." },
      { 'a name that is no text', 'name = 3,', 'recipe: name: got 3, expected a name of letters, digits, - _ .' },
      { 'a seed twice', 'seeds = { 1, 1 },', 'recipe: seeds: 1 appears twice' },
      { 'seed and seeds', 'seed = 1, seeds = { 1 },', 'recipe: give either seed or seeds, not both' },
      { 'no arms', 'arms = {},', 'recipe: arms and seeds must not be empty' },
      { 'an arm without a name', 'arms = { {} },',
        'recipe: arms[1].name: got nil, expected a name of letters, digits, - _ .' },
      { 'two arms of one name', "arms = { { name = 'a' }, { name = 'a' } },",
        'recipe: arms[2].name: there are two arms named a' },
      { 'an arm with an output', "arms = { { name = 'a', output = 'x.h5' } },",
        'recipe: arms.a.output: an arm cannot set this' },
      { "an arm's unknown field", "arms = { { name = 'a', trian = {} } },",
        'recipe, arm a: trian is not a known field; did you mean train?' },
    }
    for _, case in ipairs(cases) do
      it(case[1], function() assert.equal(case[3], message(case[2])) end)
    end

    it('points of a schedule that are out of order', function()
      local order = 'schedule.points=[[5,1],[3,2]]'
      assert.equal(('recipe with --set %s: schedule.points[2]: update 3 comes after update 5, expected them in order')
        :format(order), message("schedule = { kind = 'points' },", order))
    end)

    it('icot without a schedule', function()
      assert.equal("recipe with --set schedule=nil: schedule is missing; the method 'icot' needs one",
        message('', 'schedule=nil'))
    end)

    it('a name that is empty, and not the output made of it', function()
      assert.equal("recipe with --set name=: name: got '', expected a name of letters, digits, - _ .",
        message('', 'name='))
    end)

    it('settings of unknown fields and arms', function()
      assert.equal('recipe with --set optimizer.rl=1: optimizer.rl is not a known field; did you mean optimizer.lr?',
        message('', 'optimizer.rl=1'))
      assert.equal('--set arms.slwo.x=1: there is no arm slwo; did you mean slow?', message(arms, 'arms.slwo.x=1'))
      assert.equal('--set arms=1: expected arms.NAME.FIELD=VALUE', message(arms, 'arms=1'))
    end)
  end)

  describe('tells where in the file', function()
    local function load_text(text)
      local path = write(text)
      return expect.user_error(recipe.load, path):gsub('^.*/mine', 'mine'), path
    end

    it('there is a syntax error', function()
      assert.equal("mine.lua:2: unexpected symbol near ','", (load_text('return {\n  a = , }')))
    end)

    it('something was raised', function()
      assert.matches('^mine%.lua:2: attempt to index', (load_text('local a\nreturn a.b')))
    end)

    it('a module was not found, without all the places where it is not', function()
      assert.equal("mine.lua:1: module 'nope' not found", (load_text("require('nope')")))
    end)

    it('something of several lines went wrong', function()
      assert.equal('mine.lua:1: first', (load_text("error('first\\nsecond')")))
      assert.equal("mine.lua:2: unexpected symbol near '[[a", (load_text('x = 1 [[a\nb]]')))
    end)

    it('a value was raised that is no text', function()
      assert.matches('mine%.lua: raised a table$', (load_text('error {}')))
    end)

    it('no table is returned', function()
      assert.matches('mine%.lua: returns nil, expected a table', (load_text('x = 1')))
      assert.matches('mine%.lua: returns 3, expected a table', (load_text('return 3')))
    end)
  end)

  it('says what is wrong with a path', function()
    local folder = temporary.folder()
    assert.matches('none%.lua: No such file or directory$', expect.user_error(recipe.load, folder .. '/none.lua'))
    assert.matches('cannot be read: Is a directory$', expect.user_error(recipe.load, folder))
  end)
end)
