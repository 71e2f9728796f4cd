--- Where the reasoning steps of examples from a file end: as in those that the task has drawn.
local examples = require 'tests.lua.support.examples'
local expect = require 'tests.lua.support.expect'
local steps = require 'icot.data.steps'
local tasks = require 'icot.data.tasks'
local temporary = require 'tests.lua.support.temporary'
local text_files = require 'icot.data.text_files'
local vocabulary = require 'icot.text.vocabulary'

-- The steps of the test examples of a task, drawn and read from a file that has the same.
local function steps_of(given)
  given.train, given.valid, given.test = 0, 0, 40
  local drawn = tasks.load(given, 'test')
  local path = temporary.write(temporary.folder() .. '/examples.txt',
                               table.concat(examples.lines(drawn.test), '\n') .. '\n')
  local read = text_files.read(path, 'test', drawn.vocabulary, drawn.steps_of)
  local in_drawn, in_file = {}, {}
  for id = 0, 39 do in_drawn[id], in_file[id] = drawn.test:steps(id), read:steps(id) end
  read:free()
  drawn:free()
  return in_drawn, in_file
end

describe('the steps of examples from a file', function()
  after_each(temporary.clean)

  for _, given in ipairs {
    { task = 'multiplication', digits = 4 },
    { task = 'multiplication', digits = { 5, 3 }, digits_from = 2 },
    { task = 'modular_sum', count = 4, modulus = 97 },
    { task = 'modular_sum', count = 2, modulus = 1000, digits = 2 },
    { task = 'parity', bits = 11, parity = 6 },
    { task = 'parity', bits = 12, parity = 7, order = 'tree' },
    { task = 'graph', nodes = 12, steps = 3 },
  } do
    local what = { given.task, type(given.digits) == 'table' and 'mixed' or '', given.order or '' }
    it('are those of ' .. table.concat(what, ' '), function()
      local drawn, read = steps_of(given)
      assert.same(drawn, read)
      assert.is_true(#drawn[0] > 0)
    end)
  end
end)

describe('steps', function()
  local words = vocabulary.new('word', { '1', '+' })

  local function encoded(text)
    local ids = require('ffi').new('int32_t[?]', #text + 2)
    return { count = words:encode_part_into(text, ids), ids = ids }
  end

  it('end with a token and with the CoT', function()
    local of = steps.ended_by('+', words, 'here')
    assert.same({ 2, 4, 5 }, of('', encoded '1 + 1 + 1'))
    assert.same({ 2 }, of('', encoded '1 +'))
    assert.same({}, of('', encoded ''))
    expect.mentions(expect.user_error(steps.ended_by, '*', words, 'here'), "here: '*' is no token")
    expect.mentions(expect.user_error(steps.ended_by, '1 +', words, 'here'), "here: '1 +' is 2 tokens")
  end)

  it('of one shape are not known of another one', function()
    local of = steps.always { 1, 3 }
    assert.same({ 1, 3 }, of('', encoded '1 1 1'))
    assert.is_nil(of('', encoded '1 1'))
    assert.same({}, steps.always {}('', encoded ''))
  end)
end)
