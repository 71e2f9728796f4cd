--- Runs that lose what they had learned: noticed, ended, and told.
local collapse = require 'icot.training.collapse'
local recipes = require 'tests.lua.support.recipes'
local small = require 'tests.lua.support.small_training'
local program = require 'tests.lua.support.program'
local temporary = require 'tests.lua.support.temporary'

local options = { below = 0.5, evaluations = 2 }

-- Whether it has happened after each of these accuracies.
local function after(accuracies, all_removed)
  local watch, seen = collapse.new(), {}
  for i, accuracy in ipairs(accuracies) do
    collapse.note(watch, accuracy, all_removed or false, options)
    seen[i] = collapse.has_happened(watch, options)
  end
  return seen
end

describe('a collapse', function()
  it('is when the accuracy stays below after it was above', function()
    assert.same({ false, false, false, false, true }, after { 0, 0, 0.5, 0.4, 0.4 })
    assert.same({ false, false, false, false, true }, after { 0.9, 0.1, 0.6, 0.1, 0.1 })
  end)

  it('is none as long as there was nothing to lose', function()
    assert.same({ false, false, false, false }, after { 0, 0, 0, 0 })
  end)

  it('is also when all CoT is gone and nothing was learned', function()
    assert.same({ false, true }, after({ 0, 0 }, true))
  end)

  it('is not seen in accuracies that are no numbers, nor looked for where the recipe says nothing', function()
    assert.same({ false, false, false, true }, after { 0.9, 0.1, 0 / 0, 0.1 })
    local watch = collapse.new()
    for _ = 1, 9 do collapse.note(watch, 0, true, false) end
    assert.is_false(collapse.has_happened(watch, false))
  end)
end)

describe('a run that collapses', function()
  after_each(temporary.clean)

  -- All CoT is gone from update 29 on; evaluations are every 5 updates, and none is as good as this.
  local doomed = { settings = {
    'train.evaluate_every=5', 'train.stop_on_collapse.below=1', 'train.stop_on_collapse.evaluations=2',
    'train.log_every=5', 'checkpoint.every_steps=1',
  } }

  it('ends there, and says so in its file', function()
    local ok, result, path = small.train(doomed)
    assert.is_true(ok, tostring(result))
    assert.same({ 'collapsed', 35, 8 }, { result.status, result.updates, result.removed })
    assert.equal('collapsed', small.read(path).attributes.end_state)
    assert.equal('number', type(result.accuracy))
    local notes = {}
    local function note(_, text) notes[#notes + 1] = text end
    doomed.progress = setmetatable({ note = note }, { __index = small.silent })
    doomed.folder = path:match('^(.*)/')
    local _, again = small.train(doomed, { resume = true })
    doomed.progress, doomed.folder = nil, nil
    assert.same({ 'collapsed', 35 }, { again.status, again.updates })
    assert.same({ 'already collapsed' }, notes)
  end)

  it('ends at the same update if it was stopped before', function()
    doomed.folder, doomed.progress = temporary.folder(), setmetatable({
      update = function(_, state) -- between the two evaluations that count
        if state.step == 32 then error('stopped') end
      end,
    }, { __index = small.silent })
    local ok = small.train(doomed)
    doomed.progress = nil
    assert.is_false(ok)
    local _, result = small.train(doomed, { resume = true })
    doomed.folder = nil
    assert.same({ 'collapsed', 35 }, { result.status, result.updates })
  end)

  it('is no failure of the study', function()
    local folder = recipes.folder_with [[return {
      method = 'icot', dataset = { task = 'multiplication', digits = 2, train = 64, valid = 8, test = 8 },
      model = { layers = 1, heads = 2, width = 16 }, schedule = { kind = 'linear', steps_per_token = 1 },
      train = { steps = 50, batch = 8, evaluate_every = 2, stop_on_collapse = { below = 1, evaluations = 2 } },
      seeds = { 1, 2 } }]]
    local result = program.run_in(folder, 'mine.lua', '--quiet')
    assert.same({ 0, '' }, { result.code, result.err })
    assert.matches('\nicot +1 [^\n]* collapsed\n', result.out)
    assert.matches('\nicot +2 +0%.%d+ +%S+ to %S+ +100 %% ', result.out)
  end)
end)
