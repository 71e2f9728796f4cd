--- icot.base.options and icot.base.names: descriptions of fields, defaults, and what errors say.
local names = require 'icot.base.names'
local options = require 'icot.base.options'
local expect = require 'tests.lua.support.expect'

local fields = {
  side = { type = 'string', one_of = { 'left', 'right' }, default = 'left' },
  path = { type = 'string' },
  schedule = { type = { 'table', 'function' } },
  smoothing = { type = 'number', min = 0, also = { false }, default = 4 },
  optimizer = {
    type = 'table',
    fields = {
      lr = { type = 'number', above = 0, max = 10, default = 1e-3 },
      dropout = { type = 'number', min = 0, below = 1 },
    },
  },
  train = {
    type = 'table',
    fields = {
      batch = { type = 'integer', min = 1, max = 2 ^ 31 - 1, default = 32 },
      digits = { type = 'integer', min = 2, max = 20 },
      evaluate_every = { type = 'integer', min = 1, also = { 'epoch' }, default = 'epoch' },
    },
  },
  seeds = { type = 'list', each = { type = 'integer', min = 0 } },
}

local function check(given) return options.check(fields, given, 'recipe mult.lua') end
local function message(given) return expect.user_error(check, given) end

describe('options', function()
  it('fills in defaults, tables in depth', function()
    assert.same({
      side = 'left', smoothing = 4, optimizer = { lr = 1e-3 }, train = { batch = 32, evaluate_every = 'epoch' },
    }, check {})
  end)

  it('takes what is given and leaves the given table alone', function()
    local schedule = function() end
    local given = { side = 'right', smoothing = false, schedule = schedule, train = { batch = 1 }, seeds = { 3, 1 } }
    local checked = check(given)
    assert.same({ 'right', false, 1 }, { checked.side, checked.smoothing, checked.train.batch })
    assert.equal(schedule, checked.schedule)
    assert.same({ 3, 1 }, checked.seeds)
    assert.same({ batch = 1 }, given.train)
    assert.is_nil(given.optimizer)
  end)

  it('does not share default tables', function()
    local spec = { list = { type = 'list', default = { 1 } } }
    options.check(spec, {}, 'x').list[1] = 2
    assert.same({ 1 }, options.check(spec, {}, 'x').list)
  end)

  it('names the nearest field', function()
    assert.equal('recipe mult.lua: optimizer.rl is not a known field; did you mean optimizer.lr?',
      message { optimizer = { rl = 1 } })
    assert.equal('recipe mult.lua: sedes is not a known field; did you mean seeds?', message { sedes = {} })
    assert.equal('recipe mult.lua: smooth is not a known field; did you mean smoothing?', message { smooth = 1 })
  end)

  it('finds a field that was written in the wrong table', function()
    assert.equal('recipe mult.lua: lr is not a known field; did you mean optimizer.lr?', message { lr = 1 })
  end)

  it('lists what is known when nothing is near', function()
    assert.equal('recipe mult.lua: train.xylophone is not a known field; known are: batch, digits, evaluate_every',
      message { train = { xylophone = 1 } })
    assert.equal('recipe mult.lua: train[1] is not a known field; known are: batch, digits, evaluate_every',
      message { train = { 7 } })
  end)

  local wrong = {
    { { train = { batch = -3 } }, 'train.batch: got -3, expected an integer of at least 1' },
    { { train = { batch = 2 ^ 40 } }, 'train.batch: got 1099511627776, expected an integer from 1 to 2147483647' },
    { { train = { batch = 1.5 } }, 'train.batch: got 1.5, expected an integer of at least 1' },
    { { train = { batch = '8' } }, "train.batch: got '8', expected an integer of at least 1" },
    { { train = { digits = 21 } }, 'train.digits: got 21, expected an integer from 2 to 20' },
    { { train = { digits = 0 / 0 } }, 'train.digits: got nan, expected an integer from 2 to 20' },
    { { train = { evaluate_every = 'week' } },
      "train.evaluate_every: got 'week', expected an integer of at least 1 or 'epoch'" },
    { { train = 3 }, 'train: got 3, expected a table' },
    { { optimizer = { lr = 0 } }, 'optimizer.lr: got 0, expected a number above 0 and at most 10' },
    { { optimizer = { lr = math.huge } }, 'optimizer.lr: got inf, expected a finite number above 0 and at most 10' },
    { { optimizer = { dropout = 1 } }, 'optimizer.dropout: got 1, expected a number of at least 0 and below 1' },
    { { seeds = { 2 ^ 53 } },
      'seeds[1]: got 9007199254740992, expected an integer from 0 to 9007199254740991' },
    { { smoothing = math.huge }, 'smoothing: got inf, expected a finite number of at least 0 or false' },
    { { smoothing = true }, 'smoothing: got true, expected a number of at least 0 or false' },
    { { side = 'middle' }, "side: got 'middle', expected 'left' or 'right'" },
    { { schedule = 'linear' }, "schedule: got 'linear', expected a table or a function" },
    { { path = {} }, 'path: got a table, expected a string' },
    { { seeds = { 1, -1 } }, 'seeds[2]: got -1, expected an integer of at least 0' },
    { { seeds = { a = 1 } }, 'seeds: got a table, expected a list' },
    { { seeds = '1,2' }, "seeds: got '1,2', expected a list, such as [1,2]" },
  }
  for _, case in ipairs(wrong) do
    it('refuses ' .. case[2], function()
      assert.equal('recipe mult.lua: ' .. case[2], message(case[1]))
    end)
  end

  it('says what is missing', function()
    local spec = { path = { type = 'string', required = true } }
    local text = expect.user_error(options.check, spec, {}, 'x', 'dataset.')
    assert.equal('x: dataset.path is missing, expected a string', text)
  end)

  it('refuses what is no table', function()
    assert.equal('x: dataset: got 3, expected a table', expect.user_error(options.check, fields, 3, 'x', 'dataset.'))
  end)
end)

describe('names', function()
  it('counts edits', function()
    for _, case in ipairs { { '', 'abc', 3 }, { 'abc', 'abc', 0 }, { 'lr', 'rl', 1 }, { 'kitten', 'sitting', 3 } } do
      assert.equal(case[3], names.distance(case[1], case[2]))
      assert.equal(case[3], names.distance(case[2], case[1]))
    end
  end)

  it('suggests only what is near', function()
    assert.equal('linear', names.nearest('linaer', { 'back_loaded', 'linear' }))
    assert.equal('small', names.nearest('SMALL', { 'small' }))
    assert.is_nil(names.nearest('gpt5', { 'small', 'medium' }))
    assert.equal('known are: none', names.hint('x', {}))
  end)
end)
