--- Files of examples: lines, and what an example may look like.
local example_file = require 'icot.text.example_file'
local expect = require 'tests.lua.support.expect'
local temporary = require 'tests.lua.support.temporary'

local message_of, assert_mentions = expect.user_error, expect.mentions

local file_with = temporary.file

after_each(temporary.clean)

describe('example file', function()
  local function lines_of(contents)
    local found = {}
    for number, line in example_file.lines(file_with(contents)) do
      assert.equal(#found + 1, number)
      found[number] = line
    end
    return found
  end

  it('finds the lines whatever they end in', function()
    assert.same({}, lines_of '')
    assert.same({ '' }, lines_of '\n')
    assert.same({ 'a' }, lines_of 'a')
    assert.same({ 'a', 'b' }, lines_of 'a\nb')
    assert.same({ 'a', '', 'b' }, lines_of 'a\n\nb\n')
    assert.same({ 'a', 'b' }, lines_of 'a\r\nb\r\n')
    assert.same({ 'a' }, lines_of 'a\r\n')
    assert.same({ 'a\r', 'b' }, lines_of 'a\r\nb\n')
    assert.same({ 'a', 'b\r' }, lines_of 'a\nb\r\n')
    assert.same({ 'a\0b', '\0' }, lines_of 'a\0b\n\0\n')
    assert.same({ 'ä', 'b' }, lines_of '\239\187\191ä\nb')
  end)

  it('reads lines that span the blocks it reads', function()
    local long = ('x'):rep(2 ^ 20 - 1)
    local expected = { long, 'a', long .. 'y', 'b', long .. long .. long, 'c' }
    assert.same(expected, lines_of(table.concat(expected, '\n') .. '\n'))
  end)

  it('gives up on files that are no text', function()
    local message = message_of(lines_of, 'a\n' .. ('\1'):rep(17 * 2 ^ 20))
    assert_mentions(message, 'line 2', '16 MiB')
    assert.equal("cannot open '/nowhere/data.txt': No such file or directory",
      message_of(example_file.lines, '/nowhere/data.txt'))
    assert.equal("cannot read '/': Is a directory", message_of(function() example_file.lines('/')() end))
  end)

  it('takes a line apart and puts it together again', function()
    local lines = {
      'q||c #### a', 'q|| #### a', '1 2 * 3 4||6 + 0 5 #### 9', 'a | b||x = # ### y #### z',
      'How  many?||<<2*3=6>> <<6+1=7>> #### 7', 'Größe?||☃ #### é', 'q||c  d #### a  b',
    }
    for _, line in ipairs(lines) do
      local question, cot, answer = example_file.parse(line)
      assert.equal(line, example_file.format(question, cot, answer))
    end
    assert.same({ 'How  many?', '<<1=1>>', '7' }, { example_file.parse 'How  many?||<<1=1>> #### 7' })
    assert.same({ 'q', '', '7' }, { example_file.parse 'q|| #### 7' })
  end)

  it('says what is wrong with a line', function()
    local cases = {
      { '', 'empty' }, { 'q c #### a', "no '||'" }, { 'q|c #### a', "no '||'" }, { 'q||c a', "no '####'" },
      { 'q||c ### a', "no '####'" }, { 'q||c||d #### a', "more than one '||'" },
      { 'q|||c #### a', "more than one '||'" },
      { 'q||c #### a #### b', "more than one '####'" }, { 'q||c ##### a', "more than one '####'" },
      { 'q #### a||c', 'comes before' }, { '||c #### a', 'question is empty' }, { 'q||c #### ', 'answer is empty' },
      { 'q||c ####', 'needs a space' }, { 'q||c#### a', 'needs a space' }, { 'q||#### a', 'needs a space' },
      { 'q||c ####a', 'needs a space' }, { 'q||c  #### a', 'CoT ends with a space' },
      { 'q|| c #### a', 'CoT begins with a space' }, { 'q||c ####  a', 'answer begins with a space' },
      { 'q||c #### a ', 'answer ends with a space' }, { ' q||c #### a', 'question begins with a space' },
      { 'q ||c #### a', 'question ends with a space' }, { 'q||c\0 #### a', '0x00 at byte 5' },
      { 'q||c #### a\r', '0x0d' }, { 'q\t||c #### a', '0x09 at byte 2' }, { 'q||\127 #### a', '0x7f' },
      { 'q <eos>||c #### a', '<eos>' },
    }
    for _, case in ipairs(cases) do
      local question, problem = example_file.parse(case[1])
      assert.is_nil(question, case[1])
      assert_mentions(problem, case[2])
    end
  end)

  it('knows UTF-8 when it sees it', function()
    local good = {
      '\194\128', '\223\191', '\224\160\128', '\237\159\191', '\238\128\128', '\240\144\128\128',
      '\244\143\191\191',
    }
    local bad = {
      '\128', '\191', '\193\191', '\192\128', '\194', '\194a', '\224\159\191', '\226\130', '\237\160\128', '\239\191',
      '\240\143\191\191', '\240\144\128', '\244\144\128\128', '\245\128\128\128', '\255', '\254', 'ä\194',
    }
    for _, bytes in ipairs(good) do assert.equal('x' .. bytes, (example_file.parse('x' .. bytes .. '||c #### a'))) end
    for _, bytes in ipairs(bad) do
      local question, problem = example_file.parse('x' .. bytes .. '||c #### a')
      assert.is_nil(question)
      assert_mentions(problem, 'not UTF-8')
    end
  end)
end)
