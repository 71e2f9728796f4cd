--- The method 'pause': icot's curriculum with a pause token in the place of each removed one.
local expect = require 'tests.lua.support.expect'
local gpt2 = require 'icot.gpt2'
local json = require 'icot.base.json'
local model_file = require 'icot.model.model_file'
local program = require 'tests.lua.support.program'
local recipes = require 'tests.lua.support.recipes'
local small = require 'tests.lua.support.small_training'
local tasks = require 'icot.data.tasks'
local temporary = require 'tests.lua.support.temporary'
local tiny_bpe = require 'tests.lua.support.tiny_bpe'
local tokenizer = require 'icot.text.tokenizer'

-- Trains the small recipe with this method and these settings; gives the result, and the path of the run file.
local function train(settings, options, changes)
  changes = changes or {}
  changes.settings = { 'method=pause', unpack(settings or {}) }
  local ok, result, path = small.train(changes, options)
  assert(ok, tostring(result))
  return result, path
end

local function model_of(path) return (path:gsub('%.h5$', '')) end

local function vocab_size(folder)
  return assert(json.decode(temporary.read(folder .. '/config.json'))).vocab_size
end

describe('a training with pauses', function()
  after_each(temporary.clean)

  it('removes what icot would, and keeps the length of all CoT', function()
    local result, path = train()
    local file = small.read(path)
    assert.equal('pause', file.attributes.method)
    assert.same({ 0, 3, 8, 8 }, small.column(file.tables.train, 'removed'))
    assert.same({ false, true, true, false }, small.column(file.tables.train, 'optimizer_reset'))
    assert.same({ 14, 15, 30, 40, 40 }, small.column(file.tables.eval, 'step'))
    assert.same({ 40, 8 }, { result.updates, result.removed })
    assert.equal(result.explicit_accuracy, small.column(file.tables.eval, 'accuracy')[1])
    assert.equal(40 * 20 * (5 + 8 + 4 + 4), result.tokens) -- 20 examples of 5 + 8 + 4 tokens and four separators
    local generated = small.column(file.tables.eval, 'tokens_generated')
    assert(generated[4] <= 25 * (0 + 4 + 3)) -- the 8 pauses are not the model's
  end)

  it('ends early only once all CoT is gone', function()
    local run = small.run { settings = { 'method=pause', 'train.stop_at_accuracy=1e-9', 'train.evaluate_every=1' } }
    local evaluate = require 'icot.training.evaluate'
    local real = evaluate.run
    evaluate.run = function(...)
      local made = real(...)
      made.accuracy = 1
      return made
    end
    local ok, result = pcall(require('icot.training.trainer').run, run, { progress = small.silent })
    evaluate.run = real
    assert(ok, tostring(result))
    assert.same({ 29, 8 }, { result.updates, result.removed }) -- update 29 is the first with all 8 removed
  end)

  it('has one token more than others, which its model folder names', function()
    local _, path = train()
    local _, others = train { 'method=icot' }
    local words, its = model_file.vocabulary(model_of(path)), model_file.vocabulary(model_of(others))
    assert.equal('<pause>', table.remove(words.symbols))
    assert.same(its.symbols, words.symbols)
    assert.equal(vocab_size(model_of(others)) + 1, vocab_size(model_of(path)))
    local target = temporary.folder() .. '/exported'
    assert.equal(0, program.run({ 'export', path, target }).code)
    assert.equal(its.size + 1, vocab_size(target))
  end)

  for _, side in ipairs { 'left', 'random' } do
    it('ends with the same bits when it was stopped and resumed, and is evaluated again the same: ' .. side, function()
      local settings = { 'removal.side=' .. side, 'removal.replay=0.2', 'removal.smoothing=1' }
      local whole, path = train(settings)
      local schedule = [[function(state)
        if STOP and state.step == 23 then error('stopped') end
        return math.max(0, math.floor((state.step - 12) / 2))
      end]]
      local changes = { folder = temporary.folder(), schedule = schedule,
                        settings = { 'method=pause', 'checkpoint.every_steps=5', unpack(settings) } }
      small.train_until_stopped(changes)
      local resumed, result, broken = small.train(changes, { resume = true })
      assert(resumed, tostring(result))
      assert.equal(2, #small.read(broken).tables.segments.rows)
      assert.equal(small.model_bytes(path), small.model_bytes(broken))
      assert.same({ whole.accuracy, whole.tokens }, { result.accuracy, result.tokens })

      local shown = program.run { 'eval', path, '--threads', '1' }
      expect.mentions(shown.out, '8 of 8 CoT tokens removed', ('accuracy         %.4f'):format(whole.accuracy))
      local loss = small.column(small.read(path).tables.eval, 'loss')
      expect.mentions(shown.out, ('loss             %.6f'):format(loss[#loss]))
    end)
  end

  it('has a frontier and a drawing of its schedule as icot has', function()
    local _, path = train { 'checkpoint.keep.stages=all' }
    local shown = program.run { 'frontier', path, '--threads', '1', '--single', '2' }
    assert.equal(0, shown.code, shown.err)
    assert.matches('\n +16 +1 +7 +', shown.out)
    local drawn = program.run { 'schedule', path:gsub('%.h5$', '.lua'), '--set', 'method=pause' }
    assert.equal(0, drawn.code, drawn.err)
    expect.mentions(drawn.out, 'pause: 8 of 8 CoT tokens removed after 40 updates')
  end)

  it('needs a schedule, and examples without its token', function()
    local recipe = [[return { method = 'pause', dataset = { task = 'text', train = '%s', valid = '%s', test = '%s' },
      model = { layers = 1, heads = 1, width = 4 }, train = { steps = 1 }, %s }]]
    local data = temporary.file('1 2||3 <pause> #### 4\n2 2||3 3 #### 4\n')
    local function message_of(schedule)
      local path = recipes.folder_with(recipe:format(data, data, data, schedule)) .. '/mine.lua'
      local done = program.run { path, '--quiet', '--out', temporary.folder() .. '/x.h5' }
      assert.equal(1, done.code)
      assert.matches('^icot: [^\n]*\n$', done.err)
      return done.err
    end
    expect.mentions(message_of '', "schedule is missing; the method 'pause' needs one")
    expect.mentions(message_of "schedule = { kind = 'linear', steps_per_token = 1 }", "the symbol '<pause>'")
    local config = { method = 'icot', removal = {}, dataset = { task = 'text', train = data, tokenizer = 'word' } }
    tasks.load_for_run(config):free() -- to all other methods it is a token like any other
  end)
end)

describe('a pretrained model', function()
  after_each(temporary.clean)

  -- The rows of a saved model's token embedding.
  local function rows_of(folder)
    local model = gpt2.from_pretrained(folder)
    local rows = model.transformer.wte.weight:totable()
    model:free()
    return rows
  end

  it('gets one more token, whose embedding is the mean of the others', function()
    local _, start = train { 'method=icot' }
    local _, path = train { 'model.pretrained=' .. model_of(start), 'optimizer.lr=1e-30', 'train.steps=1' }
    local before, after = rows_of(model_of(start)), rows_of(model_of(path))
    local pause = table.remove(after)
    assert.same(before, after) -- 1e-30 is too little
    for column = 1, #pause do
      local sum = 0
      for _, row in ipairs(before) do sum = sum + row[column] end
      assert.near(sum / #before, pause[column], 1e-6)
    end
  end)

  it('that was trained with pauses knows them, and can be trained without', function()
    local _, start = train()
    local size = vocab_size(model_of(start))
    for _, method in ipairs { 'pause', 'icot' } do
      local _, path = train { 'method=' .. method, 'model.pretrained=' .. model_of(start), 'train.steps=1' }
      assert.equal(size, vocab_size(model_of(path)))
    end
  end)

  it('must know all other tokens', function()
    local _, start = train { 'method=no_cot' }
    local saved = model_of(start) .. '/vocabulary.json'
    local text = assert(temporary.read(saved))
    temporary.write(saved, (text:gsub('"9"', '"x"')))
    local ok, problem = small.train { settings = { 'method=pause', 'model.pretrained=' .. model_of(start) } }
    assert.is_false(ok)
    expect.mentions(problem.message, saved .. ": '9' is not among its 16 symbols")
  end)

  it('brings a tokenizer that gets the token, too', function()
    local words = tokenizer.load(tiny_bpe.write())
    local start, size = temporary.folder() .. '/start', words.size
    local model = gpt2.new({ vocab_size = size, layers = 1, heads = 2, width = 8, context = 30, dropout = 0 }, 1)
    model_file.save(start, model, words)
    model:free()
    local run, path = train { 'model.pretrained=' .. start, 'train.steps=30' }
    assert.equal(8, run.removed)
    assert.equal(size + 1, vocab_size(model_of(path)))
    assert.same({ size }, tokenizer.load(model_of(path)):encode '<pause>')
    local shown = program.run { 'eval', path, '--threads', '1' }
    expect.mentions(shown.out, ('accuracy         %.4f'):format(run.accuracy))
    assert.equal(size, tokenizer.load(start).size) -- nothing of it was changed

    local _, again = train { 'model.pretrained=' .. model_of(path), 'train.steps=1' }
    assert.equal(size + 1, vocab_size(model_of(again)))
  end)
end)
