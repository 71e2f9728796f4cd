--- GSM8K and other datasets in the tokens of a pretrained model.
local evaluate = require 'icot.training.evaluate'
local expect = require 'tests.lua.support.expect'
local gpt2 = require 'icot.gpt2'
local gsm8k = require 'datasets.gsm8k'
local icot_recipe = require 'icot.recipe'
local model_file = require 'icot.model.model_file'
local scripted = require 'tests.lua.support.scripted'
local tasks = require 'icot.data.tasks'
local temporary = require 'tests.lua.support.temporary'
local tiny_bpe = require 'tests.lua.support.tiny_bpe'

after_each(temporary.clean)

local SHORT = 'Ann has 3 eggs and buys 4.||<<3+4=7>> #### 7\n'
local LONG = 'A farm has 1,000 hens, and each lays 2 eggs.||<<1000*2=2000>> <<2000/2=1000>> #### 1,000\n'

local function load(options)
  options.task = 'gsm8k'
  return tasks.load(options)
end

describe('gsm8k', function()
  it('gives its examples back, whatever they are cut into', function()
    for _, tokenizer in ipairs { 'character', tiny_bpe.write() } do
      local read = load { test = temporary.file(SHORT .. LONG), tokenizer = tokenizer }
      assert.equal(SHORT, read.test:text(0) .. '\n')
      assert.equal(LONG, read.test:text(1) .. '\n')
      read:free()
    end
  end)

  it('has the same token for a word at the start of a part and within it', function()
    local read = load { test = temporary.file('7 7||7 #### 7\n'), tokenizer = tiny_bpe.write() }
    local example = read.test:example(0)
    assert.same({ question = { example.cot[1], example.cot[1] }, cot = example.cot, answer = example.cot }, example)
    read:free()
  end)

  it('takes the names of special tokens for text', function()
    local line = 'what is <|endoftext|>||<<1=1>> #### 1'
    local read = load { test = temporary.file(line .. '\n'), tokenizer = tiny_bpe.write() }
    assert.equal(line, read.test:text(0))
    for _, id in ipairs(read.test:example(0).question) do assert.not_equal(read.vocabulary.eos, id) end
    read:free()
  end)

  it('marks each calculation as a step, whatever it is cut into', function()
    local prose, none = 'q||so <<1+1=2>> #### 2\n', 'q|| #### 2\n'
    for _, tokenizer in ipairs { 'character', 'word', tiny_bpe.write() } do
      local read = load { test = temporary.file(SHORT .. LONG .. prose .. none), tokenizer = tokenizer }
      local cot, ends = read.test:example(1).cot, read.test:steps(1)
      assert.equal(2, #ends)
      assert.equal(#cot, ends[2])
      local first, second = {}, {}
      for i, id in ipairs(cot) do table.insert(i <= ends[1] and first or second, id) end
      assert.equal('<<1000*2=2000>>' .. (tokenizer == 'character' and ' ' or ''), read.vocabulary:decode_part(first))
      assert.equal('<<2000/2=1000>>', read.vocabulary:decode_part(second))
      assert.same({ (select(2, read.test:lengths(0))) }, read.test:steps(0))
      assert.is_nil(read.test:steps(2))
      assert.same({}, read.test:steps(3))
      read:free()
    end
  end)

  it('leaves out training examples that are too long, and says so; never held-out ones', function()
    local path = temporary.file(SHORT .. LONG .. SHORT)
    local read = load { train = path, valid = path, max_length = 60 }
    assert.same({ 2, 3 }, { read.train:size(), read.valid:size() })
    assert.same({ 'train: left out: 1 of 3 examples with more than 60 tokens' }, read.notes)
    read:free()
    expect.mentions(expect.user_error(load, { train = path, max_length = 5 }), 'dataset.train', path, 'max_length')
  end)

  it('compares answers without commas', function()
    assert.is_true(gsm8k.same_answer('1,000', '1000'))
    assert.is_true(gsm8k.same_answer('1000', '1,000'))
    assert.is_false(gsm8k.same_answer('1000', '100'))
    assert.is_false(gsm8k.same_answer('', '100'))

    local read = load { valid = temporary.file(LONG .. SHORT .. SHORT) }
    local words = read.vocabulary
    local function text(answer)
      local written = { words.eos, words.separator }
      for _, id in ipairs(words:encode(answer)) do written[#written + 1] = id end
      written[#written + 1] = words.eos
      return written
    end
    local config = { vocab_size = words.size, layers = 1, heads = 1, width = 1, context = read.max_length }
    local model = scripted.new(config, { text '1000', text '7', text '3' })
    local result = evaluate.run(model, read, 'valid', math.huge, { side = 'left', positions = 'closed_up' },
                                { examples = 3, batch = 3, samples = 0 })
    assert.near(2 / 3, result.accuracy, 1e-12)
    read:free()
  end)

  it('recomputes the calculations of a CoT', function()
    local function problem(cot, answer) return gsm8k.check('q', cot, answer or '1') end
    for _, right in ipairs { '', '<<3+4=7>>', '<<16-3-4=9>> <<9*2=18>>', '<<2/.5=4>>', '<<1/3=.33>>', '<<2*2.25=4.50>>',
      '<<(1+2)*3=9>>', '<<+7=7>>', '<<8=8>>', '<<3--4=7>>', '<<200000*0.333=66600>>' } do
      assert.is_nil(problem(right))
    end
    expect.mentions(problem '<<3+4=8>>', '3+4 is 7, not 8')
    expect.mentions(problem '<<3+4=7>> 3+4=7', "'3+4=7' is not <<calculation=result>>")
    expect.mentions(problem '<<3+4=>>', "'' is not a number")
    expect.mentions(problem '<<os.exit()=1>>', 'cannot be calculated')
    expect.mentions(problem '<<1+=1>>', 'cannot be calculated')
    expect.mentions(problem '<<1/0=3>>', "'1/0' cannot be calculated")
    expect.mentions(problem('<<1=1>>', 'one'), "'one' is not a number")
    assert.is_nil(problem('<<1=1>>', '1,000'))
  end)
end)

describe('a pretrained model', function()
  -- A model of random numbers, saved with the tokenizer of a folder.
  local function pretrained()
    local folder = tiny_bpe.write()
    local words = require('icot.text.tokenizer').load(folder)
    local model = gpt2.new({ vocab_size = words.size, layers = 1, heads = 2, width = 8, context = 64, dropout = 0 }, 1)
    local saved = temporary.folder() .. '/model'
    model_file.save(saved, model, words)
    model:free()
    words:free()
    return saved
  end

  local function recipe_of(text)
    return icot_recipe.load(temporary.write(temporary.folder() .. '/r.lua', text), {})
  end

  it('brings its tokenizer to the dataset', function()
    local folder = pretrained()
    local function tokenizer_of(dataset_text)
      local loaded = recipe_of(([[return { method = 'explicit_cot', dataset = %s, model = { pretrained = '%s' },
        train = { steps = 1 } }]]):format(dataset_text, folder))
      return loaded.runs[1].config.dataset.tokenizer
    end
    assert.equal(folder, tokenizer_of "{ task = 'gsm8k', train = 'a' }")
    assert.equal(folder, tokenizer_of "{ task = 'multiplication', digits = 2 }")
    assert.equal('character', tokenizer_of "{ task = 'text', train = 'a', tokenizer = 'character' }")
  end)

  it('multiplies in its own tokens', function()
    local own = tasks.load { task = 'multiplication', digits = 3, train = 5, valid = 5, test = 5 }
    local its = tasks.load { task = 'multiplication', digits = 3, train = 5, valid = 5, test = 5,
      tokenizer = tiny_bpe.write() }
    for i = 0, 4 do assert.equal(own.test:text(i), its.test:text(i)) end
    assert.equal(own.max_length, its.max_length)
    own:free()
    its:free()
  end)

  it('needs a token for each symbol of a multiplication', function()
    local lacking = 'tests/fixtures/tokenizer/pair'
    local options = { task = 'multiplication', digits = 3, train = 5, valid = 5, test = 5, tokenizer = lacking }
    expect.mentions(expect.user_error(tasks.load, options), "'0' is 2 tokens of this vocabulary")
  end)
end)
