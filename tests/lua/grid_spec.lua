--- Grids of a study: the combinations, their names, and what is refused.
local checks = require 'icot.study.checks'
local json = require 'icot.base.json'
local expect = require 'tests.lua.support.expect'
local recipes = require 'tests.lua.support.recipes'
local temporary = require 'tests.lua.support.temporary'

local base = [[
  method = 'icot', dataset = { task = 'multiplication', digits = 3, train = 100, valid = 10, test = 10 },
  model = { layers = 2, heads = 4, width = 128 }, schedule = { kind = 'linear', steps_per_token = 80 },
  train = { steps = 3 },
]]

local function load(more, ...)
  return recipes.load(recipes.folder_with('return {' .. base .. more .. '}') .. '/mine.lua', { ... })
end

local function message(more, ...)
  return (expect.user_error(load, more, ...):gsub('^recipe %S*mine%.lua', 'recipe'))
end

local function arms_of(loaded)
  local arms = {}
  for i, run in ipairs(loaded.runs) do arms[i] = run.arm end
  return arms
end

describe('a grid', function()
  after_each(temporary.clean)

  local two = 'grid = { optimizer = { lr = { 1e-4, 5e-5 } }, removal = { smoothing = { 4, false } } },'

  it('multiplies a recipe without arms', function()
    local loaded = load(two)
    assert.is_true(loaded.is_study)
    assert.same({ 'icot,lr=0.0001,smoothing=4', 'icot,lr=0.0001,smoothing=false', 'icot,lr=5e-5,smoothing=4',
                  'icot,lr=5e-5,smoothing=false' }, arms_of(loaded))
    local last = loaded.runs[4]
    assert.same({ 5e-5, false }, { last.config.optimizer.lr, last.config.removal.smoothing })
    assert.equal('results/mine/icot,lr=5e-5,smoothing=false-42.h5', last.output)
    assert.same({ 'icot', 'lr=5e-5,smoothing=false' }, { last.base_arm, last.point })
    assert.same(last.config, json.decode(last.config_json))
  end)

  it('of an arm can be given from outside, and taken away', function()
    local own = "arms = { { name = 'a' }, { name = 'b', grid = { optimizer = { lr = { 1, 2 } } } } },"
    assert.same({ 'a', 'b,lr=3' }, arms_of(load(own, 'arms.b.grid.optimizer.lr=[3]')))
    assert.same({ 'a,lr=3', 'a,lr=4', 'b' },
                arms_of(load(own, 'arms.a.grid={"optimizer":{"lr":[3,4]}}', 'arms.b.grid=nil')))
  end)

  it('multiplies all arms, and one that has its own by that too', function()
    local loaded = load [[seeds = { 1, 2 }, grid = { dataset = { digits = { 2, 3 } } }, arms = {
      { name = 'a', method = 'no_cot' }, { name = 'b', grid = { train = { steps = { 5 }, batch = { 8, 16 } } } } },]]
    assert.same({ 'a,digits=2', 'a,digits=3', 'b,digits=2,batch=8,steps=5', 'b,digits=2,batch=16,steps=5',
                  'b,digits=3,batch=8,steps=5', 'b,digits=3,batch=16,steps=5' },
                (function(all)
                  local once = {}
                  for i = 1, #all, 2 do once[#once + 1] = all[i] end -- each with two seeds
                  return once
                end)(arms_of(loaded)))
    assert.equal(12, #loaded.runs)
  end)

  it('is told of where an arm makes nothing of what it varies', function()
    local function told(more)
      local texts = {}
      checks.tell_alike(load(more), function(text) texts[#texts + 1] = text end)
      return texts
    end
    local arms = "seeds = { 1, 2 }, arms = { { name = 'a', method = 'no_cot' }, { name = 'b' } }, grid = { %s },"
    local alike = told(arms:format("removal = { side = { 'left', 'right' } }"))
    assert.equal(1, #alike)
    expect.mentions(alike[1], 'a,side=right is trained as a,side=left is: no_cot makes nothing of what they differ in')
    assert.same({}, told(arms:format("removal = { positions = { 'kept', 'closed_up' } }")))
    assert.same({}, told(arms:format('optimizer = { lr = { 1e-3, 1e-4 } }')))
  end)

  it('names a field in full where two end in the same word', function()
    local loaded = load [[grid = { dataset = { train = { 50, 60 } }, model = { dropout = { 0 } },
      evaluate = { batch = { 1 } }, train = { batch = { 4 } } },]]
    assert.equal('icot,train=50,evaluate.batch=1,dropout=0,train.batch=4', loaded.runs[1].arm)
  end)

  it('takes the place of an alternative, and can be set from outside', function()
    local loaded = load("grid = { train = { epochs = { 1, 2 } } },", 'grid.train.epochs=[3,4]', 'train.batch=8')
    assert.same({ 'icot,epochs=3', 'icot,epochs=4' }, arms_of(loaded))
    local config = loaded.runs[1].config.train
    assert.same({ 3, nil, 8 }, { config.epochs, config.steps, config.batch })
    assert.is_false(load(two, 'grid=nil').is_study)
  end)

  describe('is refused if', function()
    after_each(temporary.clean)

    for what, case in pairs {
      ['a value is no list'] = { 'grid = { optimizer = { lr = 1 } },',
        'recipe: grid.optimizer.lr: got 1, expected a list of values, or a table with fields that have lists' },
      ['a list is empty'] = { 'grid = { optimizer = { lr = {} } },',
        'recipe: grid.optimizer.lr: got a table, expected a list of values, or a table with fields that have lists' },
      ['it has a list of fields'] = { "grid = { 'lr' },",
        "recipe: grid.1: got 'lr', expected a list of values, or a table with fields that have lists" },
      ['it mixes values and fields'] = { 'grid = { 5, optimizer = { lr = { 1, 2 } } },',
        'recipe: grid.1: got 5, expected a list of values, or a table with fields that have lists' },
      ['values are tables'] = { "grid = { schedule = { { kind = 'linear' } } },",
        'recipe: grid.schedule: got a table among the values, expected numbers, strings, true or false; arms can have '
        .. 'others' },
      ['two values have one name'] = { 'grid = { optimizer = { lr = { 1, 1 } } },',
        'recipe: grid.optimizer.lr: two values have the name 1' },
      ['it sets seeds'] = { 'grid = { seed = { 1, 2 } },',
        'recipe: grid.seed: a grid cannot set this; give seeds beside it' },
      ['a field is not known'] = { 'grid = { optimizer = { lt = { 1, 2 } } },',
        'recipe, grid lt=1: optimizer.lt is not a known field; did you mean optimizer.lr?' },
      ['a value is out of range'] = { "grid = { optimizer = { lr = { 1, 20 } } },",
        'recipe, grid lr=20: optimizer.lr: got 20, expected a number above 0 and at most 10' },
      ['an arm sets the same'] = {
        "grid = { optimizer = { lr = { 1 } } }, arms = { { name = 'a', optimizer = { lr = 2 } } },",
        'recipe, arm a: optimizer.lr: the grid varies this field; change grid.optimizer.lr',
      },
      ['that of an arm is no table'] = { "arms = { { name = 'a', grid = 3 } },",
        'recipe, arm a: grid: got 3, expected a table' },
    } do
      it(what, function() assert.equal(case[2], message(case[1])) end)
    end

    it('a setting sets the same', function()
      assert.equal('--set optimizer.lr=1: optimizer.lr: the grid varies this field; change grid.optimizer.lr',
                   message(two, 'optimizer.lr=1'))
    end)

    it('a setting sets what the own grid of an arm varies', function()
      local own = "arms = { { name = 'a', grid = { optimizer = { lr = { 1, 2 } } } } },"
      assert.equal('--set optimizer.lr=1: optimizer.lr: the grid varies this field; change arms.a.grid.optimizer.lr',
                   message(own, 'optimizer.lr=1'))
    end)

    it('a setting is of an arm, and no arm can have it', function()
      for _, field in ipairs { 'seed=9', 'output=x.h5', 'name=b', 'seeds=[1]', 'match=tokens' } do
        assert.equal(('--set arms.a.%s: an arm cannot set this'):format(field),
                     message("arms = { { name = 'a' } },", 'arms.a.' .. field))
      end
    end)

    it('a name grows too long', function()
      local long = ("grid = { dataset = { task = { '%s' } } },"):format(('x'):rep(130))
      assert.matches('datasets/x+%.lua', message(long)) -- that is wrong first
      local fields = {}
      for _, name in ipairs { 'beta1', 'beta2', 'eps', 'weight_decay', 'lr', 'final_lr', 'clip' } do
        fields[#fields + 1] = name .. ' = { 0.123456789012 }'
      end
      expect.mentions(message('grid = { optimizer = { ' .. table.concat(fields, ', ') .. ' } },'),
                      'has a name of more than 120 characters')
    end)
  end)
end)
