--- What a schedule will do, drawn before anything is trained.
local expect = require 'tests.lua.support.expect'
local preview = require 'icot.schedule.preview'
local program = require 'tests.lua.support.program'
local schedule = require 'icot.schedule'
local temporary = require 'tests.lua.support.temporary'

local info = { steps_per_epoch = 100, total_steps = 200, max_cot = 8 }
local assumed = { evaluate_every = 25, accuracy = 0.9, loss = 0.3, removal = {} }

local function stages_of(fields)
  return preview.stages(schedule.of({ method = 'icot', schedule = fields }, info), info, assumed)
end

describe('the stages of a schedule', function()
  it('are those that a training goes through, in updates', function()
    assert.same({
      { removed = 0, thoughts = 0, first = 0, updates = 50 },
      { removed = 4, thoughts = 0, first = 50, updates = 50 },
      { removed = 6, thoughts = 0, first = 100, updates = 50 },
      { removed = 7, thoughts = 0, first = 150, updates = 50 },
    }, stages_of { kind = 'geometric', steps_per_stage = 50, share = 0.5 })
  end)

  it('ask the schedule with what it is told in a training, where there is no loss before the first update', function()
    local losses = {}
    preview.stages(function(state)
      losses[state.step] = state.loss or 'none'
      return 0
    end, { steps_per_epoch = 2, total_steps = 3, max_cot = 8 }, assumed)
    assert.same({ [0] = 'none', 0.3, 0.3 }, losses)
  end)

  it('ask it again after the validation before the first removal', function()
    local seen = {}
    preview.stages(function(state)
      seen[state.step] = state.accuracy or 'none'
      return state.step >= 10 and 1 or 0
    end, { steps_per_epoch = 100, total_steps = 13, max_cot = 8 }, assumed)
    assert.same({ 'none', 0.9, 0.9 }, { seen[10], seen[11], seen[12] })
  end)

  it('know which stages a schedule can go back to', function()
    local function back_to(removed)
      return function(state)
        if state.step ~= 20 then return state.step < 10 and 0 or state.step < 20 and 2 or 3 end
        return removed, 'rollback'
      end
    end
    local stages = preview.stages(back_to(0), info, assumed)
    assert.same({ 0, 2, 0, 3 }, { stages[1].removed, stages[2].removed, stages[3].removed, stages[4].removed })
    expect.mentions(expect.user_error(preview.stages, back_to(1), info, assumed),
                    'at step 20 it asks to go back to the end of the stage with 1 removed, which there was not')
  end)

  it('end with all CoT removed, however much more is asked for', function()
    local stages = preview.stages(function(state) return state.step < 120 and 0 or math.huge end, info, assumed)
    assert.same({
      { removed = 0, thoughts = 0, first = 0, updates = 120 }, { removed = 8, thoughts = 0, first = 120, updates = 80 },
    }, stages)
  end)

  it('end where the recipe removes all', function()
    local options = { evaluate_every = 25, accuracy = 0, loss = 1, removal = { remove_all_beyond = 2 } }
    local stages = preview.stages(function(state) return math.floor(state.step / 50) end, info, options)
    assert.same({ 0, 1, 8 }, { stages[1].removed, stages[2].removed, stages[3].removed })
    assert.equal(100, stages[3].updates)
  end)

  it('follow the validations that are assumed', function()
    local gated = { kind = 'gated', metric = 'accuracy', tokens = 3, threshold = 0.9, patience = 2 }
    local removed = {}
    for i, stage in ipairs(stages_of(gated)) do removed[i] = { stage.removed, stage.updates } end
    assert.same({ { 0, 25 }, { 3, 25 }, { 6, 25 }, { 8, 125 } }, removed)
    gated.threshold = 0.95
    assert.same({ { removed = 0, thoughts = 0, first = 0, updates = 200 } }, stages_of(gated))
    gated.metric, gated.threshold = 'loss', 0.3
    assert.equal(4, #stages_of(gated))
  end)

  it('tell how many thoughts there are, and are not put together where no more come in', function()
    local options = { evaluate_every = 25, accuracy = 0, loss = 1, removal = { thoughts = 2, most_thoughts = 9 } }
    local stages = preview.stages(function(state) return math.floor(state.step / 25) end, info, options)
    assert.same({
      'stages     removed      thoughts     from update  updates each',
      '1          0            0            1            25',
      '4          1 - 4        2 - 8        26           25',
      '1          5            9            126          25',
      '2          6 - 7        9            151          25',
    }, preview.table_of(stages))
  end)

  it('are put together where they are alike, but for rounding', function()
    local groups = preview.groups(stages_of { kind = 'linear', steps_per_token = 22.5 })
    assert.same({ { 1, 0 }, { 7, 1 }, { 1, 1 } }, (function()
      local shown = {}
      for i, group in ipairs(groups) do shown[i] = { #group.stages, group.more } end
      return shown
    end)())
    assert.same({ 22, 23 }, { groups[2].least, groups[2].most })
  end)
end)

describe('the drawing', function()
  it('has the beginning at the left below and the end at the right', function()
    local lines = preview.draw(stages_of { kind = 'linear', steps_per_token = 20 }, info, 20, 4)
    assert.same({
      '8 |              ******',
      '  |          ****',
      '  |      ****',
      '  |  ****',
      '0 |**',
      '  +--------------------',
      '   1        200 updates',
    }, lines)
  end)

  it('needs a CoT', function()
    local none = { steps_per_epoch = 10, total_steps = 10, max_cot = 0 }
    local message = expect.user_error(preview.draw, { { removed = 0, first = 0, updates = 10 } }, none, 20, 4)
    expect.mentions(message, 'no CoT')
  end)
end)

describe('icot schedule', function()
  after_each(temporary.clean)

  local recipe = [[
  return {
    dataset = { task = 'multiplication', digits = 2, train = 100, valid = 10, test = 10 },
    model = { layers = 1, heads = 1, width = 8 }, train = { batch = 10, steps = 100 },
    schedule = { kind = 'linear', steps_per_token = 10 },
    arms = { { name = 'without', method = 'no_cot' }, { name = 'slowly', method = 'icot' },
             { name = 'at_once', method = 'icot', schedule = { kind = 'linear', steps_per_token = 1 } } },
    method = 'icot', seeds = { 1, 2 },
  }]]

  it('shows every arm that has a schedule, once', function()
    local path = temporary.write(temporary.folder() .. '/r.lua', recipe)
    local shown = program.run { 'schedule', path }
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.out, 'slowly: 8 of 8 CoT tokens removed after 100 updates (10 epochs)',
                    'at_once: 8 of 8 CoT tokens removed', '7          1 - 7        11           10')
    assert.is_nil(shown.out:find('without', 1, true))
    assert.equal(2, select(2, shown.out:gsub('stages', '')))
  end)

  it('takes settings, and tells what is wrong', function()
    local path = temporary.write(temporary.folder() .. '/r.lua', recipe)
    local shown = program.run { 'schedule', path, '--set', 'train.steps=40' }
    expect.mentions(shown.out, 'slowly: 3 of 8')
    assert.is_nil(shown.out:find('assumed', 1, true))
    local gated = program.run { 'schedule', path, '--set', 'schedule.kind=gated', '--set', 'schedule.threshold=0.5' }
    expect.mentions(gated.out, 'every validation is assumed to give accuracy 1 and loss 0 (--accuracy, --loss)')
    local wrong = program.run { 'schedule', path, '--set', 'schedule.kind=linaer' }
    assert.equal(1, wrong.code)
    expect.mentions(wrong.err, "schedule.kind: got 'linaer'", 'linear')
    assert.equal(2, program.run({ 'schedule', path, '--accuracy', 'x' }).code)
    assert.equal(1, program.run({ 'schedule', path .. 'x' }).code)
    local only = temporary.write(temporary.folder() .. '/n.lua', (recipe:gsub("method = 'icot'", "method = 'no_cot'")))
    expect.mentions(program.run({ 'schedule', only }).err, 'n: no arm has a schedule')
  end)
end)
