--- The method 'coconut' as a user meets it: training, going on, and looking at what came out.
local expect = require 'tests.lua.support.expect'
local program = require 'tests.lua.support.program'
local recipes = require 'tests.lua.support.recipes'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

-- Two digits times two have two steps: 3 + 1 tokens, and 4. One is gone after 12 updates, both after 22.
local schedule = '{ kind = "linear", steps_per_token = 10, explicit_steps = 2 }'
local settings = { 'method=coconut', 'removal.positions=closed_up', 'removal.unit=step', 'removal.smoothing=false',
                   'removal.thoughts=2' }

local function train(more, options, changes)
  changes = changes or {}
  changes.settings = { unpack(settings) }
  for _, each in ipairs(more or {}) do table.insert(changes.settings, each) end
  changes.schedule = changes.schedule or schedule
  local ok, result, path = small.train(changes, options)
  assert(ok, tostring(result))
  return result, path
end

describe("a training with the method 'coconut'", function()
  after_each(temporary.clean)

  it('has two thoughts for each step that is gone, and counts them as written', function()
    local result, path = train()
    local file = small.read(path)
    assert.equal('coconut', file.attributes.method)
    assert.same({ 0, 1, 2, 2 }, small.column(file.tables.train, 'removed'))
    assert.same({ 40, 2 }, { result.updates, result.removed })
    local lengths = { 21, 21 - 4 + 2, 21 - 8 + 4 } -- 5 + 8 + 4 tokens and four separators
    assert.equal(20 * (12 * lengths[1] + 10 * lengths[2] + 18 * lengths[3]), result.tokens)
    local generated = small.column(file.tables.eval, 'tokens_generated')
    assert(generated[#generated] >= 25 * (4 + 1) and generated[#generated] <= 25 * (4 + 8 + 4 + 3))
  end)

  it('trains the same model where blocks are computed again in backward', function()
    local more = { 'model.dropout=0.1', 'train.accumulate=2' }
    local _, kept = train(more)
    local _, again = train { 'train.activation_checkpointing=true', unpack(more) }
    assert.is_true(small.model_bytes(kept) == small.model_bytes(again))
  end)

  it('has no more thoughts than are wanted', function()
    local result = train { 'removal.most_thoughts=3' }
    assert.equal(20 * (12 * 21 + 10 * 19 + 18 * 16), result.tokens)
  end)

  it('has one thought for each by default, and those of a gated or any other schedule', function()
    local result = train({ 'removal.thoughts=1', 'removal.remove_all_beyond=2' }, nil,
                         { schedule = 'function(state) return state.step < 20 and 0 or math.huge end' })
    assert.equal(20 * (20 * 21 + 20 * 15), result.tokens)
  end)

  it('goes back to a stage that it had passed', function()
    local result, path = train({ 'checkpoint.every_steps=5' }, nil, { schedule = [[function(state)
      if state.step == 25 and not state.own.went_back then
        state.own.went_back = true
        return 1, 'rollback'
      end
      return state.own.went_back and 1 or math.floor(math.max(0, state.step - 2) / 10)
    end]] })
    assert.same({ 40, 1 }, { result.updates, result.removed })
    local events = small.column(small.read(path).tables.events, 'event')
    assert.equal('rollback', events[#events])
  end)

  it('has a budget of floating-point operations', function()
    local result = train { 'train.flops=2e9' }
    assert(result.flops >= 2e9 and result.updates > 10)
  end)

  it('needs a context for what its sequences come to have, and no more', function()
    -- 21 tokens with all CoT; 13 and 2 · 10 thoughts once two steps are gone
    local run = small.run { settings = { 'removal.thoughts=10', 'model.context=32', unpack(settings, 1, 4) },
                            schedule = schedule }
    local message = expect.user_error(require('icot.training.trainer').run, run, { progress = small.silent })
    expect.mentions(message, 'model.context: the longest example has')
    expect.mentions(message, 'with its thoughts (removal.thoughts), but the context is only 32')
    train { 'removal.thoughts=4', 'model.context=21' }
  end)

  it('ends with the same bits when it was stopped and resumed, and is evaluated again the same', function()
    local more = { 'removal.replay=0.3', 'removal.smoothing=1', 'model.dropout=0.1' }
    local whole, path = train(more)
    local changes = { folder = temporary.folder(), schedule = [[function(state)
      if STOP and state.step == 23 then error('stopped') end
      return math.floor(math.max(0, state.step - 2) / 10)
    end]] }
    changes.settings = { 'checkpoint.every_steps=5', unpack(settings) }
    for _, each in ipairs(more) do table.insert(changes.settings, each) end
    small.train_until_stopped(changes)
    local resumed, result, broken = small.train(changes, { resume = true })
    assert(resumed, tostring(result))
    assert.equal(small.model_bytes(path), small.model_bytes(broken))
    assert.same({ whole.accuracy, whole.tokens }, { result.accuracy, result.tokens })

    local shown = program.run { 'eval', path, '--threads', '1' }
    local loss = small.column(small.read(path).tables.eval, 'loss')
    expect.mentions(shown.out, '2 of 2 CoT steps removed', ('accuracy         %.4f'):format(whole.accuracy),
                    ('loss             %.6f'):format(loss[#loss]))
  end)

  it('computes a batch in parts, and with bfloat16 where that is there', function()
    local whole, parts = train(), train { 'train.accumulate=3' }
    assert.equal(whole.tokens, parts.tokens)
    train { 'precision=bf16' }
  end)

  it('answers questions of a file whose examples have no CoT, with as many thoughts', function()
    local _, path = train { 'removal.unit=token', 'removal.most_thoughts=4' }
    local file = temporary.file('1 2 * 3 4|| #### 3 6 4 1\n5 0 * 2 0|| #### 0 1 0 0\n')
    local shown = program.run { 'eval', path, '--file', file, '--show', '2', '--threads', '1' }
    assert.same({ 0, '' }, { shown.code, shown.err })
    expect.mentions(shown.out, '3 of 8 CoT tokens removed', '2 of ' .. file, ' tokens per example with its thoughts, ')
  end)

  it('is measured, looked into and exported as others are', function()
    local _, path = train { 'checkpoint.keep.stages=all' }
    local frontier = program.run { 'frontier', path, '--threads', '1', '--single', '2' }
    assert.equal(0, frontier.code, frontier.err)
    local probed = program.run { 'probe', path, '--threads', '1', '--places', 'thought', '--show', '1' }
    assert.equal(0, probed.code, probed.err)
    local found = small.read((path:gsub('%.h5$', '.probes.h5'))).tables
    local places = {}
    for _, place in ipairs(small.column(found.probes, 'place')) do places[place] = true end
    assert.same({ ['thought 1'] = true, ['thought 2'] = true, ['thought 3'] = true, ['thought 4'] = true }, places)
    local exported = program.run { 'export', path, temporary.folder() .. '/exported' }
    assert.equal(0, exported.code, exported.err)
    expect.mentions(exported.err, 'this is the GPT-2 alone', 'continuous thoughts')
    local drawn = program.run { 'schedule', (path:gsub('%.h5$', '.lua')), '--set', settings[1], '--set', settings[2],
                                '--set', settings[3] }
    assert.equal(0, drawn.code, drawn.err)
    expect.mentions(drawn.out, 'coconut: 2 of 2 CoT steps removed after 40 updates')
  end)

  it('says at the start that there will be many passes', function()
    local notes, progress = {}, {}
    for name, of in pairs(small.silent) do progress[name] = of end
    progress.note = function(_, text) notes[#notes + 1] = text end
    train({ 'removal.thoughts=10' }, nil, { progress = progress })
    expect.mentions(table.concat(notes, ' '), 'an example may have 20 of them, each a pass of its own')
  end)

  it('goes on in a fork that has fewer of them, in the context that there was', function()
    local _, trunk = train { 'removal.thoughts=6' }
    local folder = trunk:gsub('%.h5$', '/checkpoints/step-000000012')
    local result = train { 'removal.thoughts=1', 'fork_from=' .. folder }
    assert.equal(40, result.updates)
  end)

  it('begins with what a training with pauses has learnt, where it is forked', function()
    local _, trunk = train { 'method=pause' }
    local folder = trunk:gsub('%.h5$', '/checkpoints/step-000000012')
    local _, path = train { 'fork_from=' .. folder }
    assert.equal(12, small.read(path).attributes.fork_step)
  end)
end)

describe("pauses before the CoT, with the method 'pause'", function()
  after_each(temporary.clean)

  it('are as many as there would be thoughts, and no part of what is written', function()
    local thoughtful, paused = train(), train { 'method=pause' }
    assert.equal(thoughtful.tokens, paused.tokens)
    local _, path = train { 'method=pause' }
    local generated = small.column(small.read(path).tables.eval, 'tokens_generated')
    assert(generated[#generated] <= 25 * (8 + 4 + 3))
  end)
end)

describe('a recipe with thoughts', function()
  after_each(temporary.clean)

  local function message_of(fields)
    return expect.user_error(recipes.load, temporary.file(([[return {
      dataset = { task = 'multiplication', digits = 2 }, model = { layers = 1, heads = 2, width = 16 },
      schedule = { kind = 'linear', steps_per_token = 1 }, train = { steps = 1 }, %s }]]):format(fields)))
  end

  it('is refused where they cannot be', function()
    expect.mentions(message_of "method = 'coconut', removal = { side = 'right' }",
                    "removal.side: got 'right', but thoughts (method 'coconut') need 'left'")
    expect.mentions(message_of "method = 'pause', removal = { thoughts = 1, positions = 'kept' }",
                    "removal.positions: got 'kept', but thoughts (method 'pause') need 'closed_up'")
    expect.mentions(message_of "method = 'pause', removal = { most_thoughts = 2 }",
                    "removal.most_thoughts: got 2, but without removal.thoughts each removed token becomes a pause")
    expect.mentions(message_of "method = 'coconut', removal = { thoughts = 0 }", 'removal.thoughts: got 0')
    expect.mentions(message_of "method = 'coconut', removal = { thoughts = 2 }", 'removal.most_thoughts is missing',
                    'each removed token adds 2 thoughts')
  end)

  it('has them in arms that think, and in no others', function()
    local runs = recipes.load(temporary.file [[return {
      dataset = { task = 'multiplication', digits = 2 }, model = { layers = 1, heads = 2, width = 16 },
      schedule = { kind = 'linear', steps_per_token = 1 }, train = { steps = 1 },
      removal = { thoughts = 3, most_thoughts = 9 },
      arms = { { name = 'icot', method = 'icot' }, { name = 'coconut', method = 'coconut' } } }]]).runs
    assert.is_nil(runs[1].config.removal.thoughts)
    assert.equal(3, runs[2].config.removal.thoughts)
  end)
end)
