--- `icot ask`: a question alone is answered as `icot eval` has it answered; and what it says to mistakes.
local expect = require 'tests.lua.support.expect'
local program = require 'tests.lua.support.program'
local temporary = require 'tests.lua.support.temporary'

local folder

-- A training of no more than a few updates, whose model writes all sorts of things.
local recipe = [[
return {
  method = '%s', seed = 2, dataset = { task = '%s', train = 200, valid = 5, test = 8%s },
  model = { layers = 1, heads = 2, width = 16 }, schedule = { kind = 'linear', steps_per_token = 4 },
  %s
  train = { batch = 10, steps = 10, evaluate_every = 10 },
}]]

local function icot(...)
  return program.run_in(folder, ...)
end

local function train(method, task, options, more)
  temporary.write(folder .. '/r.lua', recipe:format(method, task, options, more or ''))
  local done = icot('r.lua', '--out', 'r.h5')
  assert.equal(0, done.code, done.err)
end

-- What `icot eval --show` has of the first test examples, without what they were expected to be.
local function shown_by_eval(...)
  local done, lines = icot('eval', 'r.h5', '--show', '6', ...), {}
  assert.equal(0, done.code, done.err)
  for line in done.out:gmatch('[^\n]+') do
    local text = line:match('^wrong +(.*) %(expected .*%)$') or line:match('^right +(.*)$')
    if text then lines[#lines + 1] = text end
  end
  assert.equal(6, #lines, done.out)
  return lines
end

local function questions_of(lines)
  local questions = {}
  for i, line in ipairs(lines) do questions[i] = line:match('^(.-)||') end
  return questions
end

before_each(function() folder = temporary.folder() end)
after_each(temporary.clean)

describe('icot ask', function()
  local digits = ', digits = 2'
  for name, each in pairs {
    ['closed up'] = { 'icot', 'multiplication', digits },
    ['positions kept'] = { 'icot', 'multiplication', digits, "removal = { positions = 'kept', side = 'right' }," },
    ['steps'] = { 'icot', 'parity', ', bits = 12', "removal = { unit = 'step' }," },
    ['pauses'] = { 'pause', 'multiplication', digits, "removal = { side = 'both' }," },
    ['leading pauses'] = { 'pause', 'multiplication', digits, 'removal = { thoughts = 2 },' },
    ['continuous thoughts'] = { 'coconut', 'multiplication', digits, "removal = { thoughts = 1, unit = 'step' }," },
  } do
    it('answers as icot eval does: ' .. name, function()
      train(unpack(each))
      local lines = shown_by_eval()
      local done = icot('ask', 'r.h5', unpack(questions_of(lines)))
      assert.equal(0, done.code, done.err)
      assert.equal(table.concat(lines, '\n') .. '\n', done.out)
    end)
  end
end)

describe('icot ask of a model', function()
  before_each(function() train('icot', 'multiplication', ', digits = 2') end)

  it('reads questions from the standard input, one per line', function()
    local lines = shown_by_eval('--removed', '5')
    local text = table.concat(questions_of(lines), '\r\n') .. '\r\n'
    local done = program.run({ 'ask', 'r.h5', '--removed', '5' }, { folder = folder, input = text })
    assert.equal('', done.err)
    assert.equal(table.concat(lines, '\n') .. '\n', done.out)
  end)

  it('names the question that it cannot ask', function()
    local too_long = ('1 '):rep(100) .. '1'
    for question, problem in pairs {
      ['1 x'] = "'x' is not among", [''] = 'the question is empty', ['1 ####'] = "more than one '####'",
      ['1 <eos>'] = "the reserved symbol '<eos>'",
      [too_long] = 'has 101 tokens, but the model has a context of',
    } do
      local done = icot('ask', 'r.h5', '1 2 * 3 4', question)
      assert.equal(1, done.code)
      expect.mentions(done.err, 'ask: question 2: ', problem)
      assert.matches('^1 2 %* 3 4||[^\n]*\n$', done.out) -- what came before is answered
    end
    local done = program.run({ 'ask', 'r.h5' }, { folder = folder, input = '1 2 * 3 4\n\n1 2\1 * 3 4\n' })
    expect.mentions(done.err, 'ask: question 3: control character 0x01 at byte 4')
  end)

  it('wants a run', function()
    local done = icot('ask', 'r.lua', '1 2 * 3 4')
    assert.equal(1, done.code)
    expect.mentions(done.err, 'ask: r.lua: is a recipe; name the run file')
  end)
end)

describe('icot ask where the place of the answer depends on the length of the CoT', function()
  it('wants whole examples if CoTs are not all as long', function()
    local path = temporary.write(folder .. '/examples.txt', '1 2||3 #### 4\n1 3||2 2 #### 4\n')
    temporary.write(folder .. '/r.lua', ([[
return {
  method = 'icot', dataset = { task = 'text', train = '%s', valid = '%s', test = '%s' },
  model = { layers = 1, heads = 2, width = 16 }, schedule = { kind = 'linear', steps_per_token = 4 },
  removal = { positions = 'kept' }, train = { batch = 2, steps = 5, evaluate_every = 5 },
}]]):format(path, path, path))
    assert.equal(0, icot('r.lua', '--out', 'r.h5').code)
    local done = icot('ask', 'r.h5', '1 2')
    assert.equal(1, done.code)
    expect.mentions(done.err, "ask: with positions = 'kept'", 'icot eval RUN --file FILE --show N')
  end)
end)
