--- Corpora, how a dataset is found and checked, and the dataset `text`.
local corpus = require 'icot.text.corpus'
local lfs = require 'lfs'
local tasks = require 'icot.data.tasks'
local vocabulary = require 'icot.text.vocabulary'
local expect = require 'tests.lua.support.expect'
local temporary = require 'tests.lua.support.temporary'

local message_of, assert_mentions = expect.user_error, expect.mentions

local file_with = temporary.file

after_each(temporary.clean)

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

  it('gives marks of steps back, and nil where there are none', function()
    local kept = corpus.new(symbols)
    kept:append({ 2 }, { 3, 3, 4 }, { 2 })
    kept:append({ 2 }, { 3, 3, 4 }, { 2 })
    kept:mark_steps { 1, 3 }
    kept:append({ 2 }, {}, { 2 })
    kept:mark_steps {}
    assert.is_nil(kept:steps(0))
    assert.same({ 1, 3 }, kept:steps(1))
    assert.same({}, kept:steps(2))
    assert_mentions(message_of(kept.steps, kept, 3), 'index 3 is none of its 3 examples')
    assert_mentions(message_of(kept.mark_steps, kept, {}), 'example 3 are already marked')
    kept:append({ 2 }, { 3, 3 }, { 2 })
    assert_mentions(message_of(kept.mark_steps, kept, { 1 }), 'end at 1, but its CoT has 2')
    kept:free()
  end)

  it('refuses ids and numbers that do not exist', function()
    local kept = corpus.new(symbols)
    assert_mentions(message_of(kept.append, kept, { 5 }, {}, { 2 }), 'token 1 of the question', 'expected 0 to 4')
    assert_mentions(message_of(kept.append, kept, {}, {}, { 2 }), 'at least one question')
    assert_mentions(message_of(kept.example, kept, 0), 'index 0 is none of its 0 examples')
    kept:free()
    kept:free()
    assert_mentions(message_of(kept.size, kept), 'freed')
  end)
end)

describe('dataset', function()
  it('names what it does not know', function()
    assert_mentions(message_of(tasks.check, { task = 'multiplicaton' }, 'recipe r.lua', 'dataset.'),
      'recipe r.lua: dataset.task', 'did you mean multiplication?')
    assert_mentions(message_of(tasks.check, { task = '../secret' }), "got '../secret'")
    assert_mentions(message_of(tasks.check, {}), 'got nil')
    assert_mentions(message_of(tasks.check, { task = 'text', tokeniser = 'word' }), 'did you mean tokenizer?')
    assert_mentions(message_of(tasks.load, { task = 'multiplication', digits = 21 }), 'digits: got 21', '2 to 20')
    assert_mentions(message_of(tasks.load, { task = 'multiplication', digits = 1 }), 'digits: got 1')
    assert_mentions(message_of(tasks.load, { task = 'multiplication', train = 1.5 }), 'train: got 1.5')
  end)

  it('says so when the file of a task is broken', function()
    local folder, path = os.tmpname(), package.path
    os.remove(folder)
    assert(lfs.mkdir(folder))
    assert(lfs.mkdir(folder .. '/datasets'))
    package.path = folder .. '/?.lua;' .. path
    for contents, expected in pairs {
      ['return {'] = "datasets/broken.lua:1: unexpected symbol near '<eof>'",
      ['error "nothing works"'] = 'nothing works', ['return 7'] = 'must return',
      ['return { options = {} }'] = 'must return',
    } do
      local file = assert(io.open(folder .. '/datasets/broken.lua', 'w'))
      file:write(contents)
      file:close()
      package.loaded['datasets.broken'] = nil
      assert_mentions(message_of(tasks.check, { task = 'broken' }), 'dataset: task: ', expected)
    end
    -- A plan for made_up.load with some of its parts replaced.
    local function plan(changes)
      return ([[local plan = {
        task = 'broken', options = { test = 1, valid = 0, train = 0, seed = 1 }, limits = '', questions = 1,
        numbers = 1, vocabulary = require('icot').vocabulary.new('word', { 'a', 'b' }),
        question = function() return { 'a' } end, solve = function() return {}, { 'a' }, {} end,
      }
      %s
      return require('icot').made_up.load(plan)]]):format(changes)
    end
    for load, expected in pairs {
      ['return nil + 1'] = 'dataset: ' .. folder .. '/datasets/broken.lua:2: attempt to perform arithmetic',
      [plan 'plan.options = { test = 1 }'] = 'broken: its options have no valid',
      [plan 'plan.vocab, plan.vocabulary = plan.vocabulary, nil']
        = 'vocab is not a known field; did you mean vocabulary',
      [plan 'plan.numbers = nil'] = 'datasets/broken.lua: made_up.load: numbers is missing, expected an integer',
      [plan "plan.solve = function() return {}, { 'c' }, {} end"]
        = "broken: the example with the question 'a': the symbol 'c' is not in the vocabulary",
      [plan 'plan.solve = function() return {}, { 1 }, {} end']
        = 'the symbol 1 is not in the vocabulary; symbols are strings',
      [plan "plan.solve = function() return {}, 'a', {} end"] = "the answer is 'a', expected a list",
      [plan "plan.question = function() return 'a' end"] = "broken: question returned 'a', expected a list of symbols",
      [plan 'plan.groups = function() return 0 / 0 end'] = "groups('a', 'a'): returned nan, expected a number",
      [plan 'plan.groups = true'] = 'made_up.load: groups: got true, expected a function',
      ["return 'data'"] = "dataset: datasets/broken.lua: load returned 'data', expected a dataset",
      [plan "plan.groups = function() error({}) end"] = '/datasets/broken.lua: raised a table',
      [plan "plan.groups = function() end"]
        = "dataset: datasets/broken.lua: groups('a', 'a'): returned nil, expected a number, or a string of at most 32",
      [plan "plan.groups = function(question) return question.length.nothing end"]
        = "groups('a', 'a'): " .. folder .. '/datasets/broken.lua:7: attempt to index field',
      [plan "plan.solve = function() return { 'a' }, { 'a' }, { 2 } end"] = "the example with the question 'a': ",
      [plan 'plan.question = function(uniform, at) return { uniform[at + 1] < 1 and "a" } end']
        = 'question read uniform[at + 1], but `numbers` says that it takes 1',
      [plan [[plan.limits, plan.questions, plan.options.train = 'two', 3, 2
              plan.question = function(uniform, at) return { uniform[at] < 0.1 and 'a' or 'b' } end]] ]
        = 'broken: two: only 2 different questions are ever drawn, though its `questions` says that 3 exist',
    } do
      local file = assert(io.open(folder .. '/datasets/broken.lua', 'w'))
      file:write(('return { options = {}, load = function()\n%s end }'):format(load))
      file:close()
      package.loaded['datasets.broken'] = nil
      assert_mentions(message_of(tasks.load, { task = 'broken' }), expected)
    end
    for returned, expected in pairs {
      ["'value'"] = "quantities('a', 'b', 'c', …): returned 'value', expected a list of { name = …, value = … }",
      ["{ { 'value', 3 } }"] = 'number 1 of what it returned is a table; expected a list',
      ['question + 1'] = folder .. '/datasets/broken.lua:2: attempt to perform arithmetic',
    } do
      local file = assert(io.open(folder .. '/datasets/broken.lua', 'w'))
      file:write(('return { options = {}, load = function() end,\nquantities = function(question) return %s end }')
        :format(returned))
      file:close()
      package.loaded['datasets.broken'] = nil
      assert_mentions(message_of(tasks.find('broken').quantities, 'a', 'b', 'c', {}), expected)
    end
    for declared, expected in pairs {
      ['{ digits = 4 }'] = 'options.digits: is a number, expected a description such as { type =',
      ['{ digits = { default = 4 } }'] = 'options.digits.type is missing, expected one of: boolean, function, integer',
      ["{ digits = { type = 'int' } }"] = "options.digits.type: 'int' is no type; did you mean integer?",
      ["{ a = { type = 'table', fields = { n = { type = { 'list', 'no' } } } } }"] = "options.a.fields.n.type: 'no'",
    } do
      local file = assert(io.open(folder .. '/datasets/broken.lua', 'w'))
      file:write(('return { options = %s, load = function() end }'):format(declared))
      file:close()
      package.loaded['datasets.broken'] = nil
      assert_mentions(message_of(tasks.check, { task = 'broken' }), 'datasets/broken.lua: ', expected)
    end
    package.loaded['datasets.broken'], package.path = nil, path
    os.remove(folder .. '/datasets/broken.lua')
    lfs.rmdir(folder .. '/datasets')
    lfs.rmdir(folder)
  end)

  it('lists its tasks', function()
    local found = {}
    for _, name in ipairs(tasks.names()) do found[name] = true end
    assert.is_true(found.multiplication and found.text)
  end)
end)

describe('text', function()
  local function load(given, wanted)
    given.task = 'text'
    return tasks.load(given, wanted)
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
    assert.same({ 2, 2, 4 + 2 + 2 + 4 }, { read.max_cot, read.max_answer, read.max_length })
    assert.same({ 0, 0 }, { read.valid:size(), read.test:size() })
  end)

  it('knows the symbols of all files in every split', function()
    local valid, test = file_with 'only valid||a #### 1\n', file_with '1||z #### 1'
    local given = { train = file_with(train), valid = valid, test = test }
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
    assert.equal('dataset.train: ' .. path .. ' is empty, expected lines `question||cot #### answer`',
      message_of(load, { train = path }))
    assert.equal("dataset.valid: cannot open '/nowhere/v.txt': No such file or directory",
      message_of(load, { valid = '/nowhere/v.txt' }))
    assert.equal("dataset.test: cannot open '': No such file or directory", message_of(load, { test = '' }))
    assert.equal("dataset.train: cannot read '/': Is a directory", message_of(load, { train = '/' }))
    assert_mentions(message_of(load, {}), 'at least one of train, valid and test')
    assert_mentions(message_of(load, { train = 7 }), 'train: got 7, expected a string')
  end)

  it('marks the steps that a token ends', function()
    local path = file_with '1 * 2||6 + 7 0 + ( 8 #### 4\n1|| #### 2\n1||6 + #### 3\n'
    local read = load { train = path, step_end = '+' }
    assert.same({ 2, 5, 7 }, read.train:steps(0))
    assert.same({}, read.train:steps(1))
    assert.same({ 2 }, read.train:steps(2))
    read:free()
    read = load { train = path }
    assert.is_nil(read.train:steps(0))
    read:free()
    assert_mentions(message_of(load, { train = path, step_end = '-' }), "step_end: '-' is no token")
    assert_mentions(message_of(load, { train = path, step_end = '6 +' }), "step_end: '6 +' is 2 tokens")
  end)

  it('holds sequences to max_length', function()
    local path = file_with(train)
    assert.equal(12, load({ train = path, max_length = 12 }).max_length)
    assert_mentions(message_of(load, { train = path, max_length = 11 }), path, 'line 1', '12 tokens', 'is 11')
  end)
end)
