--- Evaluation: which answer counts as right, and at which positions a model is asked for it.
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
local evaluate = require 'icot.training.evaluate'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local removal = require 'icot.text.removal'
local scripted = require 'tests.lua.support.scripted'
local tasks = require 'icot.data.tasks'
local tiny = require 'tests.lua.support.tiny'
local writing = require 'icot.training.writing'

local EOS, SEPARATOR = 0, 1

describe('the answer in a text', function()
  local function answer_in(...) return writing.answer_in({ ... }, { eos = EOS, separator = SEPARATOR }) end

  it('stands between #### and <eos>', function()
    assert.same({ 5, 6 }, answer_in(7, 8, EOS, SEPARATOR, 5, 6, EOS))
    assert.same({ 5 }, answer_in(EOS, SEPARATOR, 5, EOS))
    assert.same({ 5, 6 }, answer_in(SEPARATOR, 5, 6)) -- the end is missing
    assert.same({ 5 }, answer_in(SEPARATOR, 5, EOS, 6, SEPARATOR, 7))
    assert.same({ 5, SEPARATOR, 7 }, answer_in(SEPARATOR, 5, SEPARATOR, 7, EOS))
    assert.same({}, answer_in(SEPARATOR, EOS))
    assert.is_nil(answer_in(5, 6, EOS))
    assert.is_nil(answer_in())
  end)
end)

-- The text that a perfect model writes for an example, and the positions and tokens of the whole in training.
local function training_text(data, id, cut)
  local packed = batch.new()
  packed:pack(data.valid, ffi.new('int64_t[1]', id), 1, cut)
  local raw, question = packed.raw, data.valid:lengths(id)
  local text, positions, tokens = {}, {}, {}
  for r = 0, tonumber(raw.n_tokens) - 1 do
    if r > question and raw.tokens[r] ~= cut.pause then text[#text + 1] = raw.tokens[r] end
    positions[r + 1], tokens[r + 1] = raw.positions[r], raw.tokens[r]
  end
  packed:free()
  return text, positions, tokens
end

local options = { examples = 100, batch = 4, samples = 2 }

-- Evaluates a model that writes these texts. Batches of `batch` prompts begin their slots anew.
local function evaluate_texts(data, texts, removed, removing, changes, vocab_size)
  vocab_size = vocab_size or data.vocabulary.size
  local config = { vocab_size = vocab_size, layers = 1, heads = 1, width = 1, context = data.max_length }
  local model = scripted.new(config, texts)
  local all = { examples = #texts, batch = #texts, samples = 2 }
  for name, value in pairs(changes or {}) do all[name] = value end
  return evaluate.run(model, data, 'valid', removed, removing, all), model
end

describe('an evaluation', function()
  local data = tiny.dataset()
  local n = data.valid:size()

  it('shows an answer with ids that only the model knows', function()
    local beyond, texts = data.vocabulary.size + 3, {}
    for i = 1, n do texts[i] = { EOS, SEPARATOR, 2, beyond, EOS } end
    local removing = { side = 'left', positions = 'closed_up', smoothing = 4 }
    local result = evaluate_texts(data, texts, math.huge, removing, nil, beyond + 1)
    assert.equal(('(id %d is not a symbol of the dataset)'):format(beyond), result.samples[1].prediction)
    assert.equal(0, result.accuracy)
  end)

  -- Even positions go first.
  local function even_first(length)
    local order = {}
    for i = 2, length, 2 do order[#order + 1] = i end
    for i = 1, length, 2 do order[#order + 1] = i end
    return order
  end

  it('asks at the positions of training, for all sides and policies, with no, some and all CoT removed', function()
    for _, side in ipairs { 'left', 'right', 'both', 'random', even_first } do
      for _, policy in ipairs { 'closed_up', 'kept' } do
        for _, removed in ipairs { 0, 1, 2, 5, 6, math.huge } do
          for _, beyond in ipairs { false, 4 } do
            local removing = { side = side, positions = policy, smoothing = 4, remove_all_beyond = beyond or nil }
            local cut = removal.cut(removing, data, removed)
            local texts, positions = {}, {}
            for id = 0, n - 1 do texts[id + 1], positions[id + 1] = training_text(data, id, cut) end
            local result, model = evaluate_texts(data, texts, removed, removing)
            assert.equal(1, result.accuracy)
            for i = 1, n do
              table.remove(positions[i]) -- the last token is written, not read
              assert.same(positions[i], model.positions[i])
            end
          end
        end
      end
    end
  end)

  it('asks at the positions of training where whole reasoning steps are removed', function()
    local marked = tasks.load { task = 'multiplication', digits = 3, digits_from = 2, train = 5, valid = 8, test = 5 }
    marked:count_in('step')
    assert.equal(3, marked.max_cot)
    for _, side in ipairs { 'left', 'right' } do
      for _, policy in ipairs { 'closed_up', 'kept' } do
        for _, removed in ipairs { 0, 1, 2, 3, math.huge } do
          local removing = { unit = 'step', side = side, positions = policy, smoothing = 4 }
          local cut = removal.cut(removing, marked, removed)
          local texts, positions = {}, {}
          for id = 0, 7 do
            texts[id + 1], positions[id + 1] = training_text(marked, id, cut)
            local _, cot, answer = marked.valid:lengths(id)
            local ends = marked.valid:steps(id)
            local left = math.max(0, #ends - removed)
            local first = side == 'left' and (ends[#ends - left] or 0) or 0
            local tokens = (side == 'left' and cot or ends[left] or 0) - first
            assert.equal(tokens + answer + 3, #texts[id + 1])
          end
          local result, model = evaluate_texts(marked, texts, removed, removing)
          assert.equal(1, result.accuracy)
          for i = 1, 8 do
            table.remove(positions[i])
            assert.same(positions[i], model.positions[i])
          end
        end
      end
    end
    marked:free()
  end)

  -- Evaluates a perfect model: it must be asked what training has, and write all of that but pauses.
  local function check_pauses(of, removing, removed)
    local cut, count = removal.cut(removing, of, removed), of.valid:size()
    local texts, positions, tokens, written, pauses = {}, {}, {}, 0, 0
    for id = 0, count - 1 do
      texts[id + 1], positions[id + 1], tokens[id + 1] = training_text(of, id, cut)
      written = written + #texts[id + 1]
      for _, token in ipairs(tokens[id + 1]) do pauses = pauses + (token == of.vocabulary.pause and 1 or 0) end
    end
    local result, model = evaluate_texts(of, texts, removed, removing)
    assert.same({ 1, written }, { result.accuracy, result.tokens_generated })
    for i = 1, count do
      table.remove(positions[i]) -- the last token is written, not read
      table.remove(tokens[i])
      assert.same(positions[i], model.positions[i])
      assert.same(tokens[i], model.tokens[i])
    end
    return pauses
  end

  it('gives pauses where training has them, for all sides and policies', function()
    local paused = tiny.dataset()
    paused.vocabulary = paused.vocabulary:with_pause()
    for removed, expected in pairs { [0] = 0, [2] = 2 * 4 + 1, [math.huge] = 6 + 1 + 5 + 6 + 3 } do
      for _, side in ipairs { 'left', 'right', 'both', 'random', even_first } do
        for _, policy in ipairs { 'closed_up', 'kept' } do
          local removing = { side = side, positions = policy, smoothing = 4 }
          assert.equal(expected, check_pauses(paused, removing, removed))
          removing.remove_all_beyond = 2
          assert.equal(removed == 0 and 0 or 21, check_pauses(paused, removing, removed))
        end
      end
    end
    paused:free()
  end)

  it('gives pauses in the place of whole reasoning steps', function()
    local marked = tasks.load_for_run {
      dataset = { task = 'multiplication', digits = 3, digits_from = 2, train = 5, valid = 8, test = 5 },
      method = 'pause', removal = { unit = 'step' },
    }
    for _, side in ipairs { 'left', 'right' } do
      local pauses = {}
      for removed = 0, 3 do
        pauses[removed] = check_pauses(marked, { unit = 'step', side = side, positions = 'kept' }, removed)
      end
      assert.equal(0, pauses[0])
      assert(pauses[1] < pauses[2] and pauses[2] < pauses[3])
    end
    marked:free()
  end)

  it('gives no pauses after an <eos>, wherever the model wrote it', function()
    local paused = tiny.dataset { { 2, 6, 1 } }
    paused.vocabulary = paused.vocabulary:with_pause()
    local pause, answer = paused.vocabulary.pause, paused.valid:example(0).answer[1]
    local text = { 2, EOS, SEPARATOR, answer, EOS } -- of three CoT tokens only one
    local result, model = evaluate_texts(paused, { text }, 3, { side = even_first, positions = 'closed_up' })
    local read = { unpack(model.tokens[1], 4) }
    assert.same({ 2, pause, EOS, SEPARATOR, answer }, read)
    assert.equal(1, result.accuracy)
    paused:free()
  end)

  it('cannot count steps that are not marked', function()
    expect.mentions(expect.user_error(data.count_in, data, 'step'), 'removal.unit', 'example 1 of train')
  end)

  local removing = { side = 'left', positions = 'closed_up', smoothing = false }

  local function perfect_texts()
    local texts = {}
    for id = 0, n - 1 do texts[id + 1] = training_text(data, id, removal.cut(removing, data, 0)) end
    return texts
  end

  it('takes all CoT from a longer split where all that is trained on has gone', function()
    local with_longer = tiny.dataset({ { 2, 3, 1 }, { 2, 2, 1 } }, { longer = { { 2, 6, 3 } } })
    local model, asked = tiny.model(with_longer), {}
    for _, removed in ipairs { 2, 3, 7, math.huge } do
      local few = { examples = 1, batch = 1, samples = 0 }
      local result = evaluate.run(model, with_longer, 'longer', removed, removing, few)
      asked[#asked + 1] = result.loss
    end
    assert.not_equal(asked[1], asked[2])
    assert.same({ asked[2], asked[2] }, { asked[3], asked[4] })
    assert.same({ 3, 6 }, { with_longer.max_cot, with_longer.longest_cots.longer })
    model:free()
    with_longer:free()
  end)

  it('counts exact answers, and hits per answer position', function()
    -- answers have 1, 3, 1, 2, 2 and 1 tokens
    local texts, generated = perfect_texts(), 0
    local function change(i, place, token) texts[i][#texts[i] - place] = token end
    change(2, 2, texts[2][#texts[2] - 2] == 2 and 3 or 2) -- the second of three is wrong
    table.insert(texts[4], #texts[4], 4) -- one too many
    texts[6] = { EOS, EOS, EOS, EOS, EOS, EOS, EOS, EOS, EOS, EOS, EOS, EOS } -- no answer at all
    local result = evaluate_texts(data, texts, 0, removing)
    assert.near(3 / 6, result.accuracy, 1e-12)
    assert.same({ 5 / 6, 2 / 3, 1 }, result.positions)
    assert.equal(6, result.examples)
    for i = 1, 5 do generated = generated + #texts[i] end
    assert.equal(generated + 12, result.tokens_generated) -- 6 CoT tokens and 3 of an answer at most, and 3 separators
    assert.near(0.25, result.loss, 1e-12)
    assert.equal(1, result.token_accuracy)
    assert(result.examples_per_second > 0)
  end)

  it('tells groups of examples apart', function()
    local texts = perfect_texts()
    texts[3][#texts[3] - 1] = texts[3][#texts[3] - 1] == 2 and 3 or 2 -- wrong
    assert.same({}, evaluate_texts(data, texts, 0, removing).groups)
    data.groups = function(question, answer) -- ten or one, or the name 'long'
      assert.truthy(question ~= '' and answer ~= '')
      local words = select(2, question:gsub('%S+', ''))
      return words > 3 and 'long' or words > 1 and 10 or 1
    end
    local result = evaluate_texts(data, texts, 0, removing) -- questions have 1, 4, 2, 3, 1 and 5 tokens
    data.groups = nil
    assert.same({
      { name = '1', examples = 2, accuracy = 1 }, { name = '10', examples = 2, accuracy = 0.5 },
      { name = 'long', examples = 2, accuracy = 1 },
    }, result.groups)
  end)

  it('shows some predictions', function()
    local texts = perfect_texts()
    texts[2] = { EOS, SEPARATOR, 3, EOS }
    texts[1] = { 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2 }
    local result = evaluate_texts(data, texts, 0, removing)
    local samples = result.samples
    assert.equal(1, result.cut_off)
    assert.is_true(samples[1].is_cut_off)
    local example = data.valid:example(1)
    assert.equal(2, #samples)
    assert.equal('', samples[1].prediction)
    assert.same({ question = data.vocabulary:decode(example.question), prediction = 'b',
                  target = data.vocabulary:decode(example.answer), is_right = false, cot = '',
                  is_cut_off = false }, samples[2])
    assert.equal(data.vocabulary:decode_part(texts[1]), samples[1].cot)
  end)

  it('takes as many examples as it may, in batches of any size', function()
    local model = tiny.model(data)
    local whole = evaluate.run(model, data, 'valid', 2, removing, { examples = 6, batch = 6, samples = 6 })
    for _, size in ipairs { 1, 4, 100 } do
      local parts = evaluate.run(model, data, 'valid', 2, removing, { examples = 99, batch = size, samples = 6 })
      assert.same({ whole.accuracy, whole.tokens_generated, whole.token_accuracy, whole.positions, whole.samples },
        { parts.accuracy, parts.tokens_generated, parts.token_accuracy, parts.positions, parts.samples })
      assert.near(whole.loss, parts.loss, 1e-5)
    end
    assert.equal(2, evaluate.run(model, data, 'valid', 2, removing, { examples = 2, batch = 5, samples = 0 }).examples)
    model:free()
  end)

  it('knows that no answer is that long', function()
    local short = tiny.dataset { { 2, 1, 1 }, { 2, 1, 3 } }
    local model = tiny.model(short)
    local result = evaluate.run(model, short, 'valid', 0, removing, { examples = 1, batch = 1, samples = 0 })
    assert.equal(3, #result.positions)
    assert(result.positions[1] == result.positions[1])
    assert(result.positions[2] ~= result.positions[2] and result.positions[3] ~= result.positions[3])
    model:free()
    short:free()
  end)

  it('needs no more memory the second time, with the collector stopped', function()
    local model = tiny.model(data)
    local function run() evaluate.run(model, data, 'valid', 1, removing, options) end
    run()
    for _ = 1, 2 do collectgarbage() end
    collectgarbage('stop')
    local before = core.memory().live
    local ok, problem = pcall(run)
    local after = core.memory().live
    collectgarbage('restart')
    assert(ok, problem)
    assert.equal(before, after)
    model:free()
  end)
end)

describe('an evaluation', function()
  it('an answer that is not there is the same as none', function()
    local data = tiny.dataset()
    data.same_answer = function() return true end
    local config = { vocab_size = data.vocabulary.size, layers = 1, width = 4, context = 64 }
    local result = evaluate.run(scripted.new(config, { {}, {} }), data, 'test', 0,
                                { side = 'left', positions = 'closed_up' }, { examples = 2, batch = 2, samples = 2 })
    assert.equal(0, result.accuracy)
    data:free()
  end)
end)
