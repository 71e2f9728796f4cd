--- The dataset `parity`: its two orders of CoT, its subset, splits kept apart, and the checker.
local dataset = require 'icot.data.dataset'
local example_file = require 'icot.text.example_file'
local examples = require 'tests.lua.support.examples'
local expect = require 'tests.lua.support.expect'
local parity = require 'datasets.parity'
local schedule = require 'icot.schedule'

local message_of, assert_mentions = expect.user_error, expect.mentions
local lines_of = examples.lines

local load, options_of = examples.of_task 'parity'

-- All questions of few bits: their lines by question, and the marks of the first.
local function all_of(given)
  given.train, given.valid, given.test = 2 ^ given.bits, 0, 0
  local made, by_question = load(given), {}
  for _, line in ipairs(lines_of(made.train)) do by_question[line:match('^(.-)||')] = line:match('||(.*)$') end
  local steps = made.train:steps(0)
  made:free()
  return by_question, steps
end

describe('parity', function()
  it('writes what one gets by hand, as chain and as tree', function()
    local chain, chain_steps = all_of { bits = 8 }
    assert.equal('1 0 1 1 0 0 0 #### 0', chain['1 0 1 1 0 1 0 0'])
    assert.equal('0 1 0 1 0 1 0 #### 0', chain['1 1 1 1 1 1 1 1'])
    assert.same({ 1, 2, 3, 4, 5, 6, 7 }, chain_steps)
    local tree, tree_steps = all_of { bits = 8, order = 'tree' }
    assert.equal('1 0 1 0 1 1 0 #### 0', tree['1 0 1 1 0 1 0 0'])
    assert.equal('1 1 1 0 0 1 1 #### 1', tree['1 0 0 1 1 0 0 0'])
    assert.same({ 4, 6, 7 }, tree_steps)
  end)

  it('carries on what is left over at the end of a level', function()
    local tree, steps = all_of { bits = 5, order = 'tree' }
    assert.equal('1 1 1 0 1 1 #### 1', tree['1 0 1 0 1'])
    assert.same({ 3, 5, 6 }, steps)
    local pair, pair_steps = all_of { bits = 2, order = 'tree' }
    assert.equal('1 #### 1', pair['0 1'])
    assert.same({ 1 }, pair_steps)
  end)

  it('loses one level of its tree in each stage of the geometric schedule', function()
    for power = 1, 6 do
      local made = load { bits = 64, parity = 2 ^ power, order = 'tree', train = 3, valid = 0, test = 0 }
      assert.equal(2 ^ power - 1, made.max_cot)
      local geometric = { kind = 'geometric', steps_per_stage = 1, share = 0.5 }
      local info = { steps_per_epoch = 1, total_steps = 99, max_cot = made.max_cot }
      local removed, stages = schedule.of({ method = 'icot', schedule = geometric }, info), {}
      for stage = 1, power do stages[stage] = removed { step = stage, removed = 0 } end
      assert.same(made.train:steps(0), stages)
      made:free()
    end
  end)

  it('depends on the secret bits alone', function()
    for _, subset in ipairs { 'secret', 'first' } do
      local given = { bits = 10, parity = 3, subset = subset, seed = 4 }
      local places, answers = parity.subset(options_of(given)), all_of(given)
      assert.equal(3, #places)
      if subset == 'first' then assert.same({ 1, 2, 3 }, places) end
      local ones = 0
      for question, rest in pairs(answers) do
        local odd = 0
        for _, place in ipairs(places) do odd = (odd + tonumber(question:sub(2 * place - 1, 2 * place - 1))) % 2 end
        assert.equal(tostring(odd), rest:match('#### (.)$'))
        ones = ones + odd
      end
      assert.equal(512, ones)
    end
    local seen = {}
    for seed = 1, 20 do
      seen[table.concat(parity.subset(options_of { bits = 10, parity = 3, seed = seed }), ' ')] = true
    end
    local different = 0
    for _ in pairs(seen) do different = different + 1 end
    assert(different > 10)
  end)

  it('shares no question between splits, repeats none, and is what its seed says', function()
    local given = { bits = 12, train = 3000, valid = 500, test = 596 } -- all there are
    local made, seen = load(given), {}
    for _, line in ipairs(lines_of(made.train, made.valid, made.test)) do
      local question = line:match('^(.-)||')
      assert.is_nil(seen[question])
      seen[question] = true
    end
    local again, other = load(given), load { bits = 12, train = 3000, valid = 500, test = 596, seed = 2 }
    assert.equal(made:digest(), again:digest())
    assert.not_equal(made:digest(), other:digest())
    -- on any machine, in any version
    assert.equal('0 1 0 1 0 0 1 0||1 1 0 0 0 1 1 #### 1',
      load({ bits = 8, train = 0, valid = 0, test = 9 }).test:text(2))
    for _, split in ipairs(dataset.splits) do
      local alone = load(given, split)
      assert.same(lines_of(made[split]), lines_of(alone[split]))
      for _, name in ipairs(dataset.splits) do
        assert.equal(name == split and made[name]:size() or 0, alone[name]:size())
      end
    end
    local shorter = load { bits = 12, train = 10, valid = 500, test = 596 }
    assert.same(lines_of(made.test), lines_of(shorter.test))
    for i = 0, 9 do assert.equal(made.train:text(i), shorter.train:text(i)) end
  end)

  it('says what is too much', function()
    assert_mentions(message_of(load, { bits = 8, train = 250, valid = 3, test = 4 }), 'bits=8',
      '257 questions', 'only 256')
    assert_mentions(message_of(load, { bits = 8, parity = 9 }), 'parity=9 is more than bits=8')
    assert_mentions(message_of(load, { order = 'trees' }), 'order')
  end)

  it('finds every change of an example', function()
    for _, given in ipairs { { bits = 7, parity = 5, order = 'tree' }, { bits = 7, parity = 5 }, { bits = 4 } } do
      given.train, given.valid, given.test = 0, 0, 16
      local made, checked = load(given), options_of(given)
      local places = parity.subset(checked)
      for _, line in ipairs(lines_of(made.test)) do
        local question, cot, answer = example_file.parse(line)
        assert.is_nil(parity.check(question, cot, answer, checked))
        assert.truthy(parity.check(question .. ' 1', cot, answer, checked))
        assert.truthy(parity.check(question, cot .. ' 1', answer, checked))
        assert.truthy(parity.check(question, cot, answer .. ' 1', checked))
        local function flipped(text, at)
          return text:sub(1, at - 1) .. (text:sub(at, at) == '0' and '1' or '0') .. text:sub(at + 1)
        end
        for at = 1, #cot, 2 do assert.truthy(parity.check(question, flipped(cot, at), answer, checked)) end
        assert.truthy(parity.check(question, cot, flipped(answer, 1), checked))
        for _, place in ipairs(places) do
          assert.truthy(parity.check(flipped(question, 2 * place - 1), cot, answer, checked))
        end
        assert_mentions(parity.check('2' .. question:sub(2), cot, answer, checked), "word 1 is '2', expected 0 or 1")
      end
      made:free()
    end
  end)
end)
