--- `icot fields`: what a recipe may say.
local expect = require 'tests.lua.support.expect'
local program = require 'tests.lua.support.program'
local recipe_fields = require 'icot.recipe.fields'
local schedule = require 'icot.schedule'
local tasks = require 'icot.data.tasks'

local function shown(what)
  local done = program.run { 'fields', what }
  assert.same({ 0, '' }, { done.code, done.err }, what)
  return done.out
end

local function refusal(what)
  local done = program.run { 'fields', what }
  assert.same({ 1, '' }, { done.code, done.out })
  return done.err
end

describe('icot fields', function()
  it('lists the fields at the top, with what they take', function()
    local out = shown()
    for name in pairs(recipe_fields.recipe) do assert.matches('\n' .. name .. '\n', '\n' .. out, 1, true) end
    expect.mentions(out, "device\n    'cpu' or 'cuda'; default 'cpu'\n", 'method\n    \'no_cot\'', '; required\n',
                    'more: icot fields removal\n', 'kind: back_loaded, ', 'task: graph, ')
  end)

  it('shows those of a table, and a single one', function()
    expect.mentions(shown 'optimizer',
                    'optimizer: AdamW, and what becomes of its moments', 'optimizer.beta1\n',
                    'optimizer.weight_decay\n')
    assert.equal('optimizer.lr\n    an integer', (shown('optimizer.lr'):gsub('a number.*', 'an integer')))
    expect.mentions(shown 'checkpoint', 'more: icot fields checkpoint.keep\n')
    expect.mentions(shown 'checkpoint.keep', 'checkpoint.keep.last\n')
  end)

  it('shows the options of every task and kind of schedule, as a recipe has to name them', function()
    for _, name in ipairs(tasks.names()) do
      local out = shown('dataset.' .. name)
      for option in pairs(tasks.find(name).options) do expect.mentions(out, '\ndataset.' .. option .. '\n') end
    end
    for name, kind in pairs(schedule.kinds) do
      local out = shown('schedule.' .. name)
      for option in pairs(kind.options) do expect.mentions(out, '\nschedule.' .. option .. '\n') end
    end
    expect.mentions(shown 'dataset.multiplication', 'more: icot fields dataset.multiplication.ood\n')
    expect.mentions(shown 'dataset.multiplication.ood.longer', '\ndataset.ood.longer.digits\n')
  end)

  it('says what may have been meant', function()
    assert.equal('icot: fields: there is no field removl; did you mean removal?\n', refusal 'removl')
    assert.equal('icot: fields: there is no field dataset.grap; did you mean dataset.graph?\n', refusal 'dataset.grap')
    for _, what in ipairs { '.', '', 'optimizer.', 'optimizer..lr' } do
      expect.mentions(refusal(what), 'expected a name such as')
    end
    assert.equal('icot: fields: removal.side has no fields of its own\n', refusal 'removal.side.x')
  end)
end)
