--- Vocabulary, files of examples, corpora, and the datasets `multiplication` and `text`.
local dataset = require 'icot.dataset'
local corpus = require 'icot.corpus'
local errors = require 'icot.errors'
local example_file = require 'icot.example_file'
local vocabulary = require 'icot.vocabulary'
local multiplication = require 'datasets.multiplication'

local files = {}

-- A file with these contents, removed after the test.
local function file_with(contents)
  local path = os.tmpname()
  files[#files + 1] = path
  local file = assert(io.open(path, 'wb'))
  file:write(contents)
  file:close()
  return path
end

-- The message of the user error that a call raises.
local function message_of(call, ...)
  local ok, problem = pcall(call, ...)
  assert.is_false(ok)
  assert.is_true(errors.is_user_error(problem), 'not a user error: ' .. tostring(problem))
  assert.is_nil(problem.message:find('\n'))
  return problem.message
end

local function assert_mentions(message, ...)
  for _, part in ipairs { ... } do
    assert(message:find(part, 1, true), ("'%s' doesn't mention '%s'"):format(message, part))
  end
end

after_each(function()
  for _, path in ipairs(files) do os.remove(path) end
  files = {}
end)

describe('vocabulary', function()
  local texts = { '', ' ', '  ', 'a', ' a', 'a ', 'a b', 'a  b', '  a   b ', 'bäh ☃ x', '\255\254 broken \226\130', '日本' }

  for _, tokenizer in ipairs { 'word', 'character' } do
    it('brings every text back, split by ' .. tokenizer, function()
      local collector = vocabulary.collector(tokenizer)
      for _, text in ipairs(texts) do collector:add(text) end
      local symbols = collector:finish()
      for _, text in ipairs(texts) do assert.equal(text, symbols:decode(symbols:encode(text))) end
    end)
  end

  it('cuts words at single spaces and characters at UTF-8 boundaries', function()
    local words, characters = vocabulary.collector('word'), vocabulary.collector('character')
    assert.equal(4, words:add('12 ab  ☃')) -- an empty symbol between the two spaces
    assert.equal(8, characters:add('12 ab  ☃'))
    assert.same({ '<eos>', '####', '', '12', 'ab', '☃' }, words:finish().symbols)
    assert.same({ '<eos>', '####', ' ', '1', '2', 'a', 'b', '☃' }, characters:finish().symbols)
  end)

  it('does not depend on the order of the texts', function()
    local one, other = vocabulary.collector('word'), vocabulary.collector('word')
    for _, text in ipairs { 'x y', 'b a', 'z' } do one:add(text) end
    for _, text in ipairs { 'z', 'a b', 'y x x' } do other:add(text) end
    assert.same(one:finish().symbols, other:finish().symbols)
  end)

  it('numbers the separators 0 and 1', function()
    local symbols = vocabulary.new('word', { '7' })
    assert.same({ 3, 0, 1 }, { symbols.size, symbols.eos, symbols.separator })
    assert.same({ 2, 0, 1, 2 }, symbols:encode('7 <eos> #### 7'))
    assert.equal('7 <eos> #### 7', symbols:decode { 2, 0, 1, 2 })
  end)

  it('survives being saved as JSON', function()
    local json = require 'cjson'
    local symbols = vocabulary.new('character', { '"', '\\', ' ', 'é', '1' })
    local loaded = vocabulary.from_table(json.decode(json.encode(symbols:to_table())))
    assert.same(symbols, loaded)
    assert.same(symbols:encode('é1 "\\'), loaded:encode('é1 "\\'))
  end)

  it('refuses what it does not know', function()
    local symbols = vocabulary.new('word', { 'a' })
    assert_mentions(message_of(symbols.encode, symbols, 'a b'), "'b' is not among its 3 symbols")
    assert_mentions(message_of(symbols.decode, symbols, { 3 }), 'no id 3')
    assert_mentions(message_of(vocabulary.new, 'word', { 'a', 'a' }), "'a'", 'only once')
    assert_mentions(message_of(vocabulary.new, 'sentence', {}), "'sentence'", 'word', 'character')
    for _, saved in ipairs { 7, {}, { symbols = { 'a', 'b' } } } do
      assert_mentions(message_of(vocabulary.from_table, saved), '<eos>', '####')
    end
    message_of(vocabulary.from_table, { tokenizer = 'word', symbols = { '<eos>', '####', 7 } })
    message_of(vocabulary.from_table, { symbols = { '<eos>', '####', '7' } })
  end)
end)

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
    assert_mentions(message_of(example_file.lines, '/nowhere/data.txt'), '/nowhere/data.txt', 'No such file')
    assert_mentions(message_of(function() example_file.lines('/')() end), 'cannot read /', 'directory')
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
      { 'q||c ### a', "no '####'" }, { 'q||c||d #### a', "more than one '||'" }, { 'q|||c #### a', "more than one '||'" },
      { 'q||c #### a #### b', "more than one '####'" }, { 'q||c ##### a', "more than one '####'" },
      { 'q #### a||c', "stands before" }, { '||c #### a', 'question is empty' }, { 'q||c #### ', 'answer is empty' },
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
    local good = { '\194\128', '\223\191', '\224\160\128', '\237\159\191', '\238\128\128', '\240\144\128\128', '\244\143\191\191' }
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

describe('corpus', function()
  local symbols = vocabulary.new('word', { 'a', 'b', 'c' })

  it('gives examples back as ids and as text', function()
    local kept = corpus.new(symbols)
    kept:append({ 2, 3 }, { 4, 4, 2 }, { 3 })
    kept:append({ 4 }, {}, { 2, 2 })
    assert.equal(2, kept:size())
    assert.same({ 2, 3, 1 }, { kept:lengths(0) })
    assert.same({ question = { 4 }, cot = {}, answer = { 2, 2 } }, kept:example(1))
    assert.equal('a b||c c a #### b', kept:text(0))
    assert.equal('c|| #### a a', kept:text(1))
    kept:free()
  end)

  it('refuses ids and numbers that do not exist', function()
    local kept = corpus.new(symbols)
    assert_mentions(message_of(kept.append, kept, { 5 }, {}, { 2 }), 'token 1 of the question', 'expected 0 to 4')
    assert_mentions(message_of(kept.append, kept, {}, {}, { 2 }), 'at least one question')
    assert_mentions(message_of(kept.example, kept, 0), 'no example 0')
    kept:free()
    kept:free()
    assert_mentions(message_of(kept.size, kept), 'freed')
  end)
end)

describe('dataset', function()
  it('names what it does not know', function()
    assert_mentions(message_of(dataset.check, { task = 'multiplicaton' }, 'recipe r.lua', 'dataset.'),
      'recipe r.lua: dataset.task', 'did you mean multiplication?')
    assert_mentions(message_of(dataset.check, { task = '../secret' }), "got '../secret'")
    assert_mentions(message_of(dataset.check, {}), 'got nil')
    assert_mentions(message_of(dataset.check, { task = 'text', tokeniser = 'word' }), 'did you mean tokenizer?')
    assert_mentions(message_of(dataset.load, { task = 'multiplication', digits = 21 }), 'digits: got 21', 'from 2 to 20')
    assert_mentions(message_of(dataset.load, { task = 'multiplication', digits = 1 }), 'digits: got 1')
    assert_mentions(message_of(dataset.load, { task = 'multiplication', train = 1.5 }), 'train: got 1.5')
  end)

  it('lists its tasks', function()
    local found = {}
    for _, name in ipairs(dataset.tasks()) do found[name] = true end
    assert.is_true(found.multiplication and found.text)
  end)
end)

describe('multiplication', function()
  local function load(given, wanted)
    given.task = 'multiplication'
    return dataset.load(given, wanted)
  end

  local function lines_of(examples)
    local lines = {}
    for i = 0, examples:size() - 1 do lines[i + 1] = examples:text(i) end
    return lines
  end

  local function operands_of(line)
    return line:match('^([%d ]+) %* ([%d ]+)||')
  end

  local function write(digits, a, b)
    local writer = require 'datasets.multiplication.writer'
    local symbols = vocabulary.new('word', { '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '+', '(', ')' })
    local page = writer.new(symbols, digits)
    page:write(a[1], a[2], b[1], b[2])
    return example_file.format(symbols:decode(page.question, page.n_question), symbols:decode(page.cot, page.n_cot),
      symbols:decode(page.answer, page.n_answer))
  end

  it('writes what one gets by hand', function()
    assert.equal('9 1 * 4 3||6 7 0 + 0 7 5 0 #### 6 4 6 0', write(2, { 0, 19 }, { 0, 34 }))
    assert.equal('0 1 * 0 1||0 0 0 + 0 0 1 0 #### 0 0 1 0', write(2, { 0, 10 }, { 0, 10 }))
    assert.equal('3 2 1 * 6 5 4||8 3 7 0 + 0 5 1 6 0 ( 8 8 8 6 0 ) + 0 0 2 9 4 0 #### 8 8 0 6 5 0',
      write(3, { 0, 123 }, { 0, 456 }))
    assert.equal('7 3 1 4 * 9 0 0 2||3 3 2 7 3 + 0 0 0 0 0 0 ( 3 3 2 7 3 0 ) + 0 0 0 0 0 0 0 ( 3 3 2 7 3 0 0 )'
      .. ' + 0 0 0 4 7 2 8 0 #### 3 3 2 1 1 3 8 0', write(4, { 0, 4137 }, { 0, 2009 }))
  end)

  it('is exact where a double is not', function()
    local nines = { 10 ^ 10 - 1, 10 ^ 10 - 1 } -- (10^20 - 1)^2 = 10^40 - 2 * 10^20 + 1
    local expected = '1' .. (' 0'):rep(19) .. ' 8' .. (' 9'):rep(19)
    assert.equal(expected, write(20, nines, nines):match('#### (.*)'))
    local ten_to_10 = { 1, 1 } -- (10^10 + 1)^2 = 10^20 + 2 * 10^10 + 1
    expected = '1' .. (' 0'):rep(9) .. ' 2' .. (' 0'):rep(9) .. ' 1 0'
    assert.equal(expected, write(11, ten_to_10, ten_to_10):match('#### (.*)'))
  end)

  it('makes right examples of every size', function()
    for digits = 2, 20 do
      local made = load { digits = digits, train = 50, valid = 10, test = 10 }
      local longest = 0
      for _, split in ipairs(dataset.splits) do
        assert.equal(split == 'train' and 50 or 10, made[split]:size())
        for i, line in ipairs(lines_of(made[split])) do
          local question, cot, answer = example_file.parse(line)
          assert.is_nil(multiplication.check(question, cot, answer))
          assert.equal(4 * digits + 1, #question)
          assert.equal(4 * digits - 1, #answer)
          local n_question, n_cot, n_answer = made[split]:lengths(i - 1)
          assert.equal(made.max_cot, n_cot)
          longest = math.max(longest, n_question + n_cot + n_answer + 4)
        end
      end
      assert.equal(longest, made.max_length)
      made:free()
    end
  end)

  it('has the lengths of the paper', function()
    for digits, n_cot in pairs { [4] = 46, [9] = 246, [11] = 368 } do
      local made = load { digits = digits, train = 1, valid = 0, test = 0 }
      assert.equal(n_cot, made.max_cot)
      assert.equal(16, made.vocabulary.size)
      made:free()
    end
  end)

  it('shares no pair between splits, in either order, and repeats none', function()
    for _, given in ipairs {
      { digits = 2, train = 5910, valid = 100, test = 1000 }, -- all pairs but those held out, or mirrored
      { digits = 3, train = 20000, valid = 2000, test = 2000 },
      { digits = 4, train = 20000, valid = 1000, test = 1000 },
    } do
      local made = load(given)
      local held_out, seen = {}, {}
      for _, split in ipairs { 'test', 'valid' } do
        for _, line in ipairs(lines_of(made[split])) do
          local a, b = operands_of(line)
          assert.is_nil(held_out[a .. '*' .. b])
          held_out[a .. '*' .. b], held_out[b .. '*' .. a] = true, true
        end
      end
      for _, line in ipairs(lines_of(made.train)) do
        local a, b = operands_of(line)
        local key = a .. '*' .. b
        assert.is_nil(held_out[key])
        assert.is_nil(seen[key])
        seen[key] = true
      end
      made:free()
    end
  end)

  it('draws every digit about equally often', function()
    local made = load { digits = 12, train = 4000, valid = 0, test = 0 }
    local counts = {}
    for _, line in ipairs(lines_of(made.train)) do
      local a, b = operands_of(line)
      for _, operand in ipairs { a, b } do
        for place = 1, 12 do
          local key = operand:sub(2 * place - 1, 2 * place - 1) .. '@' .. place
          counts[key] = (counts[key] or 0) + 1
        end
      end
    end
    for place = 1, 12 do
      local first = place == 12 and 1 or 0 -- the highest digit is never 0
      local expected = 8000 / (10 - first)
      if first == 1 then assert.is_nil(counts['0@12']) end
      for digit = first, 9 do
        local sigmas = math.abs(counts[digit .. '@' .. place] - expected) / math.sqrt(expected)
        assert(sigmas < 5, ('digit %d at place %d: %.1f sigma'):format(digit, place, sigmas))
      end
    end
    made:free()
  end)

  it('is the same for the same seed, and other for another', function()
    local one = load { digits = 5, train = 300, valid = 20, test = 20, seed = 3 }
    local same = load { digits = 5, train = 300, valid = 20, test = 20, seed = 3 }
    local other = load { digits = 5, train = 300, valid = 20, test = 20, seed = 4 }
    for _, split in ipairs(dataset.splits) do
      assert.same(lines_of(one[split]), lines_of(same[split]))
      assert.is_not.same(lines_of(one[split]), lines_of(other[split]))
    end
    -- on any machine, in any version
    assert.equal('9 0 1 5 * 0 5 5 4', (load { digits = 4, train = 0 }.test:text(0):match('^(.-)||')))
  end)

  it('holds out the same pairs however many are trained on', function()
    local small = load { digits = 3, train = 100, valid = 50, test = 50 }
    local large = load { digits = 3, train = 30000, valid = 50, test = 50 }
    assert.same(lines_of(small.test), lines_of(large.test))
    assert.same(lines_of(small.valid), lines_of(large.valid))
    for i = 0, 99 do assert.equal(small.train:text(i), large.train:text(i)) end
  end)

  it('loads one split alone as it is beside the others', function()
    local given = { digits = 3, train = 200, valid = 60, test = 50 }
    local whole = load(given)
    for _, split in ipairs(dataset.splits) do
      local alone = load(given, split)
      assert.same(lines_of(whole[split]), lines_of(alone[split]))
      for _, other in ipairs(dataset.splits) do
        if other ~= split then assert.equal(0, alone[other]:size()) end
      end
    end
  end)

  it('says how many pairs there are when asked for more', function()
    assert_mentions(message_of(load, { digits = 2, train = 0, valid = 96, test = 4000 }), '4096 pairs', 'only 4095')
    local held_out = { digits = 2, train = 0, valid = 95, test = 4000 }
    local all = load(held_out)
    assert.same({ 4000, 95 }, { all.test:size(), all.valid:size() })
    held_out.train = 1
    assert_mentions(message_of(load, held_out), 'only 0 pairs are left')
    assert_mentions(message_of(load, { digits = 2, train = 8101, valid = 0, test = 0 }), 'train=8101', 'only 8100')
    assert.equal(8100, load({ digits = 2, train = 8100, valid = 0, test = 0 }).train:size())
  end)

  it('is ready quickly, and small', function()
    local started = os.clock()
    local made = load { digits = 9, train = 80800 }
    assert.is_true(os.clock() - started < 6) -- a tenth of what must take less than a minute
    assert.is_true(made.train:bytes() < 80800 * 320)
    made:free()
  end)

  it('finds every single change of a line', function()
    local line = write(3, { 0, 307 }, { 0, 586 })
    assert.is_nil(multiplication.check(example_file.parse(line)))
    local function assert_found(changed)
      local question, cot, answer = example_file.parse(changed)
      assert(not question or multiplication.check(question, cot, answer), 'not found: ' .. changed)
    end
    for at = 1, #line do
      local before, byte, after = line:sub(1, at - 1), line:sub(at, at), line:sub(at + 1)
      assert_found(before .. after)
      for other in ('0123456789 *+()|#x\0\r\t'):gmatch('.') do
        if other ~= byte then assert_found(before .. other .. after) end
        local inserted = before .. other .. byte .. after
        if inserted ~= line then assert_found(inserted) end
      end
    end
  end)

  it('says what is wrong with an example', function()
    local check = multiplication.check
    local cot, answer = '6 7 0 + 0 7 5 0', '6 4 6 0'
    assert.is_nil(check('9 1 * 4 3', cot, answer))
    assert.equal("CoT: word 2 is '8', expected '7'", check('9 1 * 4 3', '6 8 0 + 0 7 5 0', answer))
    assert.equal("CoT: has 7 words, expected 8", check('9 1 * 4 3', '6 7 0 + 0 7 5', answer))
    assert.equal("answer: word 4 is '1', expected '0'", check('9 1 * 4 3', cot, '6 4 6 1'))
    assert.equal("answer: has 5 words, expected 4", check('9 1 * 4 3', cot, '6 4 6 0 0'))
    assert_mentions(check('9 1 * 4 4', cot, answer), 'CoT: word', '; answer: word')
    assert_mentions(check('9 1 4 3', cot, answer), "no '*'")
    assert_mentions(check('9 1 * 4', cot, answer), '2 and 1 digits')
    assert_mentions(check('9 x * 4 3', cot, answer), "word 2 is 'x'")
    assert_mentions(check('9 1 * 4 0', cot, answer), 'highest, is 0')
    assert_mentions(check('9 * 4', '6 3', '6 3'), '1 digits, expected 2 to 20')
    assert_mentions(check('How many?', '', '3'), "no '*'")
  end)
end)

describe('text', function()
  local function load(given, wanted)
    given.task = 'text'
    return dataset.load(given, wanted)
  end

  local train = '1 2 * 3||a b #### 4 5\n2 x|| #### 5\n'

  it('reads files back exactly, by word and by character', function()
    local lines = { 'How  many é?||<<2*3=6>> <<6=6>> #### 6', 'q|| #### 1,000 x', '1 2||3 #### 4' }
    local path = file_with(table.concat(lines, '\n'))
    for _, tokenizer in ipairs { 'word', 'character' } do
      local read = load { train = path, tokenizer = tokenizer }
      assert.equal(3, read.train:size())
      for i, line in ipairs(lines) do assert.equal(line, read.train:text(i - 1)) end
      read:free()
    end
  end)

  it('takes words as symbols unless told otherwise', function()
    local read = load { train = file_with(train) }
    assert.same({ '<eos>', '####', '*', '1', '2', '3', '4', '5', 'a', 'b', 'x' }, read.vocabulary.symbols)
    assert.same({ 4, 2, 2 }, { read.train:lengths(0) })
    assert.same({ 2, 4 + 2 + 2 + 4 }, { read.max_cot, read.max_length })
    assert.same({ 0, 0 }, { read.valid:size(), read.test:size() })
  end)

  it('knows the symbols of all files in every split', function()
    local given = { train = file_with(train), valid = file_with 'only valid||a #### 1\n', test = file_with '1||z #### 1' }
    local read = load(given)
    assert.is_truthy(read.vocabulary.ids.valid and read.vocabulary.ids.z)
    assert.equal('only valid||a #### 1', read.valid:text(0))
    assert.equal('1||z #### 1', read.test:text(0))
    local alone = load(given, 'test')
    assert.same(read.vocabulary.symbols, alone.vocabulary.symbols)
    assert.same({ 0, 0, 1 }, { alone.train:size(), alone.valid:size(), alone.test:size() })
  end)

  it('accepts line ends of all kinds', function()
    local read = load { train = file_with((train:gsub('\n', '\r\n'))) }
    assert.equal('2 x|| #### 5', read.train:text(1))
    read = load { train = file_with(train:sub(1, -2)) }
    assert.equal('2 x|| #### 5', read.train:text(1))
  end)

  it('reads long parts and large vocabularies', function()
    local words = {}
    for i = 1, 70000 do words[i] = 'w' .. i end
    local line = table.concat(words, ' ') .. '||' .. table.concat(words, ' ') .. ' #### w1 w70000'
    local read = load { test = file_with('a||b #### c\n' .. line .. '\n') }
    assert.equal(70000 + 3 + 2, read.vocabulary.size)
    assert.equal(line, read.test:text(1))
    assert.equal(70000, read.max_cot)
  end)

  it('names the file and line of what is wrong', function()
    local path = file_with(train .. 'no bars #### 5\n')
    assert_mentions(message_of(load, { train = path }), path, 'line 3', "no '||'")
    path = file_with(train .. '\n')
    assert_mentions(message_of(load, { train = path }), path, 'line 3', 'empty')
    path = file_with(train .. '\0\1\2\255junk')
    assert_mentions(message_of(load, { train = path }), path, 'line 3', 'control character 0x00')
    path = file_with ''
    assert_mentions(message_of(load, { train = path }), path, 'empty')
    assert_mentions(message_of(load, { valid = '/nowhere/v.txt' }), '/nowhere/v.txt', 'No such file')
    assert_mentions(message_of(load, {}), 'at least one of train, valid and test')
    assert_mentions(message_of(load, { train = 7 }), 'train: got 7, expected a string')
  end)

  it('holds sequences to max_length', function()
    local path = file_with(train)
    assert.equal(12, load({ train = path, max_length = 12 }).max_length)
    assert_mentions(message_of(load, { train = path, max_length = 11 }), path, 'line 1', '12 tokens', 'max_length is 11')
  end)
end)
