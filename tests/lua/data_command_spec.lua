--- `icot data`: what it prints, what it finds, and what it answers to mistakes.
local argparse = require 'argparse'
local data = require 'icot.cli.data'
local dataset = require 'icot.data.dataset'
local expect = require 'tests.lua.support.expect'
local overrides = require 'icot.recipe.overrides'
local tasks = require 'icot.data.tasks'

local path

local function write_file(contents)
  local file = assert(io.open(path, 'wb'))
  file:write(contents)
  file:close()
end

-- Runs `icot data …`; gives the exit code and what was printed.
local function run(...)
  local parser = argparse('icot')
  data.configure(parser)
  local parsed, args = parser:pparse { ... }
  assert(parsed, args)
  local printed, stdout = {}, io.stdout
  io.stdout = { -- luacheck: ignore 122
    write = function(self, ...)
      printed[#printed + 1] = table.concat { ... }
      return self
    end,
    flush = function(self) return self end,
  }
  local ok, result = pcall(data.run, args)
  io.stdout = stdout -- luacheck: ignore 122
  if not ok then error(result, 0) end
  return result, table.concat(printed)
end

local function message_of(...)
  return expect.user_error(run, ...)
end

-- Numbers of the lines that a check complained about.
local function lines_reported(output)
  local found = {}
  for number in output:gmatch(': line (%d+): ') do found[tonumber(number)] = true end
  return found
end

local function examples(digits, count)
  local loaded = tasks.load { task = 'multiplication', digits = digits, train = 0, valid = 0, test = count, seed = 5 }
  local lines = {}
  for i = 0, count - 1 do lines[i + 1] = loaded.test:text(i) end
  loaded:free()
  return lines
end

before_each(function() path = os.tmpname() end)
after_each(function() os.remove(path) end)

describe('icot data', function()
  it('prints splits out of distribution', function()
    local code, output = run('multiplication', '--set', 'digits=[3,2]', '--set', 'ood.longer.digits=[5,4]', '--split',
      'longer', '--count', '1')
    assert.equal(0, code)
    assert.truthy(output:find('^%d %d %d %d %d %* %d %d %d %d||'))
    expect.mentions(message_of('multiplication', '--split', 'longer'), "has no split 'longer'; known are: train, valid")
  end)
end)

describe('icot data check', function()
  it('takes the options of the task that recomputes the examples', function()
    write_file('1 0 1 1||1 0 1 #### 1\n1 0 1 1||1 0 0 #### 1\n')
    local code, output = run('check', path, '--task', 'parity', '--set', 'bits=4')
    assert.equal(1, code)
    assert.same({ [2] = true }, lines_reported(output))
    expect.mentions(message_of('check', path, '--task', 'parity', '--set', 'bit=4'), 'data parity: bit is not')
    expect.mentions(message_of('check', path, '--set', 'bits=4'), "doesn't take --set")
  end)

  it('counts examples and their tokens', function()
    write_file('1 2 3||a b #### 4\n1||  \n1|| #### 4 5\n1 2 3 4||a b c d #### 4 5 6\n')
    local code, output = run('check', path)
    assert.equal(1, code)
    assert.same({ [2] = true }, lines_reported(output))
    expect.mentions(output, '3 examples')
    assert.is_truthy(output:find('\ntokens +min +median +max\n'))
    assert.is_truthy(output:find('\nquestion +1 +3 +4\n'))
    assert.is_truthy(output:find('\ncot +0 +2 +4\n'))
    assert.is_truthy(output:find('\nanswer +1 +2 +3\n'))
    assert.is_truthy(output:find('\nsequence +7 +10 +15\n'))
    expect.mentions(output, '1 malformed line, 0 wrong examples')
  end)

  it('takes the mean of the two lengths in the middle', function()
    write_file('a||b #### c\na b||b #### c\na b c d||b #### c\na b c d e||b #### c')
    local _, output = run('check', path)
    assert.is_truthy(output:find('\nquestion +1 +3 +5\n'))
    write_file('a||b #### c\na b||b #### c\n')
    _, output = run('check', path)
    assert.is_truthy(output:find('\nquestion +1 +1.5 +2\n'))
  end)

  it('counts characters when asked to', function()
    write_file('How é||<<1=1>> #### 12\n')
    local _, output = run('check', path, '--tokenizer', 'character')
    assert.is_truthy(output:find('\nquestion +5 +5 +5\n'))
    assert.is_truthy(output:find('\ncot +7 +7 +7\n'))
  end)

  it('finds nothing wrong in what is right', function()
    for digits = 2, 9, 7 do
      local lines = examples(digits, 50)
      for _, line_end in ipairs { '\n', '\r\n' } do
        write_file(table.concat(lines, line_end) .. line_end)
        local code, output = run('check', path, '--task', 'multiplication')
        assert.equal(0, code)
        assert.same({}, lines_reported(output))
        expect.mentions(output, '50 examples')
        expect.mentions(output, 'nothing wrong')
      end
    end
  end)

  -- Ways to damage a line; each gives another line. `at` picks the place among those there are.
  local function change(pattern, replacement)
    return function(line, at)
      local places = {}
      for first, last in line:gmatch('()' .. pattern .. '()') do places[#places + 1] = { first, last } end
      local place = places[at % #places + 1]
      local found = line:sub(place[1], place[2] - 1)
      local put = type(replacement) == 'function' and replacement(found) or replacement
      return line:sub(1, place[1] - 1) .. put .. line:sub(place[2])
    end
  end

  local function in_part(pattern, damage)
    return function(line, at)
      local first, last = line:find(pattern)
      return line:sub(1, first - 1) .. damage(line:sub(first, last), at) .. line:sub(last + 1)
    end
  end

  local next_digit = change('%d', function(digit) return tostring((digit + 1) % 10) end)

  local damages = {
    ['digit of the question'] = in_part('^[^|]*', next_digit),
    ['digit of the CoT'] = in_part('||.* #', next_digit),
    ['digit of the answer'] = in_part('####.*', next_digit),
    ['dropped token'] = change('[^ ] ', ''),
    ['dropped digit of the answer'] = in_part('####.*', change(' %d', '')),
    ['doubled token'] = change('%d ', function(token) return token .. token end),
    ['no bars'] = change('||', ' '),
    ['one bar'] = change('||', '|'),
    ['no ####'] = change('#### ', ''),
    ['short ###'] = change('####', '###'),
    ['doubled bars'] = change('||', '||||'),
    ['second bars'] = change(' ', '||'),
    ['doubled ####'] = change('#### ', '#### #### '),
    ['second ####'] = change(' %+ ', ' #### '),
    ['stray letter'] = change(' ', ' x '),
    ['letter for a digit'] = change('%d', 'O'),
    ['stray byte'] = change(' ', '\255'),
    ['empty'] = function() return '' end,
    ['only a space'] = function() return ' ' end,
    ['trailing space'] = function(line) return line .. ' ' end,
    ['leading space'] = function(line) return ' ' .. line end,
    ['doubled space'] = change(' ', '  '),
    ['tab'] = change(' ', '\t'),
    ['missing space'] = change(' ', ''),
    ['NUL'] = change('[^ ]', '\0'),
    ['NUL at the end'] = function(line) return line .. '\0' end,
    ['stray carriage return'] = function(line) return line .. '\r' end,
    ['cut off'] = function(line, at) return line:sub(1, 1 + at % (#line - 2)) end,
    ['two lines in one'] = function(line) return line .. line end,
    ['other operator'] = change('%*', '+'),
    ['other parenthesis'] = change('[()]', '*'),
    ['swapped question and answer'] = function(line) return (line:gsub('^(.*)||(.*) #### (.*)$', '%3||%2 #### %1')) end,
  }

  for name, damage in pairs(damages) do
    it('finds every damaged line: ' .. name, function()
      local lines, expected = {}, {}
      for _, digits in ipairs { 3, 5 } do
        for _, line in ipairs(examples(digits, 60)) do lines[#lines + 1] = line end
      end
      for number = 2, #lines, 2 do -- every other line stays right
        local damaged = damage(lines[number], 7 * number)
        assert.is_not.equal(lines[number], damaged)
        lines[number], expected[number] = damaged, true
      end
      write_file(table.concat(lines, '\n') .. '\n')
      local code, output = run('check', path, '--task', 'multiplication')
      assert.equal(1, code)
      assert.same(expected, lines_reported(output))
    end)
  end

  it('finds a damaged first and last line', function()
    for _, number in ipairs { 1, 3 } do
      local lines = examples(4, 3)
      for _, damaged in ipairs { lines[number] .. '\r', lines[number] .. '\0', '\239\187' .. lines[number], '' } do
        lines[number] = damaged
        write_file(table.concat(lines, '\n') .. '\n')
        local code, output = run('check', path, '--task', 'multiplication')
        assert.equal(1, code)
        assert.same({ [number] = true }, lines_reported(output))
      end
    end
  end)

  it('is not content with an empty file', function()
    write_file('')
    local code, output = run('check', path)
    assert.equal(1, code)
    expect.mentions(output, '0 examples')
    expect.mentions(output, 'empty')
  end)

  it('answers mistakes', function()
    expect.mentions(message_of('check'), 'no file given')
    expect.mentions(message_of('check', '/nowhere/x.txt'), "data: cannot open '/nowhere/x.txt': No such file")
    expect.mentions(message_of('check', '/'), 'directory')
    expect.mentions(message_of('check', path, '--task', 'multiplicatio'), 'did you mean multiplication?')
    expect.mentions(message_of('check', path, '--task', 'text'), "'text' cannot recompute")
    expect.mentions(message_of('check', path, '--count', '3'), "doesn't take --count")
  end)
end)

describe('icot data TASK', function()
  it('prints examples that its own check accepts', function()
    local code, output = run('multiplication', '--set', 'digits=4', '--split', 'test', '--count', '5')
    assert.equal(0, code)
    assert.equal(5, select(2, output:gsub('\n', '\n')))
    write_file(output)
    local check_code, report = run('check', path, '--task', 'multiplication')
    assert.equal(0, check_code)
    expect.mentions(report, '5 examples')
    assert.is_truthy(report:find('\nquestion +9 +9 +9\n'))
  end)

  it('sees a `check` that is misspelt', function()
    assert.equal("data: there is no task 'chek'; did you mean `icot data check`?", message_of('chek', path))
    expect.mentions(message_of('graphh'), 'did you mean graph?')
  end)

  it('prints the split that a recipe would get', function()
    local loaded = tasks.load { task = 'multiplication', digits = 3, train = 20, valid = 10, test = 10, seed = 9 }
    for _, split in ipairs(dataset.splits) do
      local _, output = run('multiplication', '--set', 'digits=3', '--set', 'train=20', '--set', 'valid=10',
        '--set', 'test=10', '--seed', '9', '--split', split, '--count', '2')
      assert.equal(loaded[split]:text(0) .. '\n' .. loaded[split]:text(1) .. '\n', output)
    end
    loaded:free()
  end)

  it('prints all there is when asked for more', function()
    local _, output = run('multiplication', '--set', 'test=3', '--count', '100')
    assert.equal(3, select(2, output:gsub('\n', '\n')))
  end)

  it('tells of empty tokens', function()
    write_file('1  2||3 #### 3\n1 2||3 #### 3\n')
    local _, output = run('check', path)
    expect.mentions(output, "1 example has two spaces in a row, which the tokenizer 'word' reads as an empty token")
    _, output = run('check', path, '--tokenizer', 'character')
    assert.is_nil(output:find('in a row', 1, true))
  end)

  it('prints text files too', function()
    local lines = '1 2||a #### 3\n4|| #### 5\n'
    write_file(lines)
    local _, output = run('text', '--set', 'train=' .. path, '--split', 'train')
    assert.equal(lines, output)
  end)

  it('answers mistakes', function()
    write_file('1||2 #### 3\n')
    for _, case in ipairs {
      { { 'multiplicatoin' }, 'did you mean multiplication?' },
      { { 'multiplication', '--set', 'digit=4' }, 'data multiplication: digit is not a known field' },
      { { 'multiplication', '--set', 'digits=1' }, 'digits: got 1, expected an integer from 2 to 20' },
      { { 'multiplication', '--set', 'digits=four' }, "digits: got 'four'" },
      { { 'multiplication', 'file.txt' }, "doesn't take 'file.txt'" },
      { { 'multiplication', '--task', 'text' }, "doesn't take --task" },
      { { 'multiplication', '--set', 'test=0' }, 'the test split has no examples' },
      { { 'text' }, 'at least one of train, valid and test' },
      { { 'text', '--seed', '3', '--set', 'test=' .. path }, 'seed is not a known field' },
      { { 'text', '--set', 'train=' .. path }, 'the test split has no examples' },
      { { 'text', '--set', 'train=/nowhere/t.txt' }, '/nowhere/t.txt' },
    } do
      expect.mentions(message_of(unpack(case[1])), case[2])
    end
  end)

  it('says so when its output cannot be written', function()
    local full, stdout = io.open('/dev/full', 'w'), io.stdout
    if not full then return pending('there is no /dev/full') end
    local settings = overrides.read({ 'digits=2', 'train=0' }, 'the test')
    io.stdout = full -- luacheck: ignore 122
    local ok, problem = pcall(data.run, { what = 'multiplication', set = settings, count = 5 })
    io.stdout = stdout -- luacheck: ignore 122
    full:close()
    assert.is_false(ok)
    assert.is_truthy(tostring(problem):find('cannot write: No space left', 1, true))
  end)
end)
