--- The dataset `modular_sum`: exact, splits kept apart, steps marked, and the checker.
local dataset = require 'icot.data.dataset'
local example_file = require 'icot.text.example_file'
local examples = require 'tests.lua.support.examples'
local expect = require 'tests.lua.support.expect'
local modular_sum = require 'datasets.modular_sum'
local tasks = require 'icot.data.tasks'

local message_of, assert_mentions = expect.user_error, expect.mentions

local load = examples.of_task 'modular_sum'

local lines_of = examples.lines

local variants = {
  {}, { count = 2 }, { count = 7, modulus = 10 }, { count = 3, digits = 4, modulus = 13 },
  { count = 3, digits = 1, modulus = 1000 }, { modulus = 10 ^ 9 }, { count = 5, digits = 9, modulus = 10 ^ 9 },
}

local function with_sizes(given, train, valid, test)
  local copy = { train = train, valid = valid, test = test }
  for name, value in pairs(given) do copy[name] = value end
  return copy
end

describe('modular_sum', function()
  it('writes what one gets by hand', function()
    local made, by_question = load { count = 3, modulus = 7, train = 343, valid = 0, test = 0 }, {}
    for _, line in ipairs(lines_of(made.train)) do by_question[line:match('^(.-)||')] = line:match('||(.*)$') end
    assert.equal('2 , 1 #### 1', by_question['5 + 4 + 6'])
    assert.equal('0 , 0 #### 0', by_question['0 + 0 + 0'])
    assert.same({ 2, 3 }, made.train:steps(0))
    made:free()
    local three = tasks.check { task = 'modular_sum', count = 3 }
    assert.is_nil(modular_sum.check('2 4 + 9 8 + 5 0', '4 3 , 9 3', '9 3', three))
  end)

  it('makes right examples of every kind, steps marked', function()
    for _, variant in ipairs(variants) do
      local given = with_sizes(variant, 60, 10, 10)
      local made, checked = load(given), tasks.check(given)
      local digits = #('%d'):format(checked.modulus - 1)
      local ends = {}
      for i = 1, checked.count - 1 do ends[i] = i * (digits + 1) - (i == checked.count - 1 and 1 or 0) end
      for _, split in ipairs(dataset.splits) do
        for i, line in ipairs(lines_of(made[split])) do
          local question, cot, answer = example_file.parse(line)
          assert.is_nil(modular_sum.check(question, cot, answer, checked))
          assert.same(ends, made[split]:steps(i - 1))
          assert.equal(answer, cot:sub(-#answer))
        end
      end
      made:free()
    end
  end)

  it('groups examples by their longest carry chain', function()
    local made = load { count = 3, digits = 3, modulus = 1000, train = 0, valid = 0, test = 1 }
    local function group(question) return made.groups(question, '') end
    assert.equal(0, group('1 0 0 + 2 0 0 + 6 9 9')) -- 1 + 2, 3 + 996
    assert.equal(3, group('1 0 0 + 9 9 9 + 0 0 0')) -- 1 + 999
    assert.equal(2, group('0 5 0 + 0 6 9 + 0 0 0')) -- 50 + 960: the tens carry, the hundreds pass it on
    assert.equal(1, group('0 0 0 + 5 0 0 + 5 0 0')) -- 5 + 5, the second addition
    assert.equal(1, group('5 5 5 + 5 5 5 + 0 0 0')) -- each place carries by itself
    made:free()
    local wrapped = load { count = 3, modulus = 97, train = 0, valid = 0, test = 1 }
    assert.equal(0, wrapped.groups('0 9 + 9 0 + 1 0', '')) -- 90 + 9 = 99, that is 2; 2 + 1
    wrapped:free()
  end)

  it('shares no question between splits, repeats none, and is what its seed says', function()
    local given = { count = 3, modulus = 11, train = 1000, valid = 131, test = 200 } -- all 11^3
    local made, seen = load(given), {}
    for _, split in ipairs(dataset.splits) do
      for _, line in ipairs(lines_of(made[split])) do
        local question = line:match('^(.-)||')
        assert.is_nil(seen[question])
        seen[question] = true
      end
      assert.same(lines_of(made[split]), lines_of(load(given, split)[split]))
    end
    local other = with_sizes(given, 1000, 131, 200)
    other.seed = 2
    assert.equal(made:digest(), load(given):digest())
    assert.not_equal(made:digest(), load(other):digest())
    -- on any machine, in any version
    assert.equal('4 4 + 5 2 + 8 3 + 6 6||9 6 , 0 1 , 6 7 #### 6 7', load({ train = 0 }, 'test').test:text(0))
  end)

  it('says how many questions there are when asked for more', function()
    assert_mentions(message_of(load, { count = 2, modulus = 10, train = 90, valid = 6, test = 5 }),
      'modular_sum: count=2', 'numbers below 10', '101 questions', 'only 100')
    assert_mentions(message_of(load, { count = 1 }), 'count: got 1')
    assert_mentions(message_of(load, { modulus = 1 }), 'modulus: got 1')
  end)

  it('finds every single change of a line', function()
    local given = { count = 3, modulus = 97, digits = 2, train = 0, valid = 0, test = 3 }
    local made, checked = load(given), tasks.check(given)
    for _, line in ipairs(lines_of(made.test)) do
      local question = example_file.parse(line)
      for at = #question + 3, #line do -- a changed number may leave the sums as they are: 0 and 97
        for other in ('0123456789 +,x'):gmatch('.') do
          local changed = line:sub(1, at - 1) .. other .. line:sub(at + 1)
          local q, cot, answer = example_file.parse(changed)
          if q and changed ~= line then assert(modular_sum.check(q, cot, answer, checked), changed) end
        end
      end
    end
    made:free()
  end)

  it('says what is wrong with a question', function()
    local checked = tasks.check { task = 'modular_sum', count = 2 }
    local function check(question) return modular_sum.check(question, '1 0', '1 0', checked) end
    assert.is_nil(check('1 0 + 0 0'))
    assert_mentions(check('1 0 + 0'), "number 2 is '0', expected 2 digits")
    assert_mentions(check('1 0 + 7 9'), 'number 2 is 97, expected less than 97')
    assert_mentions(check('1 0'), 'has 1 numbers, expected 2')
    assert_mentions(check('1 0 + 0 0 + 0 0'), 'has 3 numbers')
  end)
end)

describe('groups of sums', function()
  it('carries are counted in all digits of the numbers', function()
    local data = require('datasets.modular_sum').load { count = 2, modulus = 7, digits = 3, train = 1, valid = 1,
                                                        test = 1, seed = 1 }
    assert.equal(3, data.groups '9 9 9 + 1 0 0')
    data:free()
  end)
end)
