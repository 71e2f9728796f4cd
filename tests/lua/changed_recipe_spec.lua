--- A run that is resumed with another recipe (--allow-changes): nothing that was decided by the old one still holds.
local checkpoint = require 'icot.saved.checkpoint'
local cleanup = require 'icot.base.cleanup'
local expect = require 'tests.lua.support.expect'
local files = require 'icot.base.files'
local resume = require 'icot.saved.resume'
local run_paths = require 'icot.results.run_paths'
local settle = require 'icot.training.settle'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local training = require 'icot.training'

local ALLOWED = { resume = true, allow_changes = true }

-- A whole run, of which the checkpoints after `step` are lost, as if it had been killed there.
local function killed_at(step)
  local changes = { folder = temporary.folder(), settings = { 'checkpoint.keep.stages=all' } }
  local ok, result, path = small.train(changes)
  assert(ok, tostring(result))
  for _, each in ipairs(checkpoint.list(run_paths.checkpoint_folder(path))) do
    if each.step > step then files.remove_tree(each.path) end
  end
  return changes
end

-- The same, resumed with settings; gives its tables, and what the user was warned of.
local function resume_with(changes, ...)
  local warnings = {}
  for _, setting in ipairs { ... } do table.insert(changes.settings, setting) end
  changes.progress = setmetatable({ warn = function(_, text) table.insert(warnings, text) end },
                                  { __index = small.silent })
  local ok, result, path = small.train(changes, ALLOWED)
  assert(ok, tostring(result))
  return small.read(path).tables, table.concat(warnings, '\n'), result
end

-- A training as it stands when it is resumed with settings, before anything is settled.
local function restored_with(changes, ...)
  for _, setting in ipairs { ... } do table.insert(changes.settings, setting) end
  local run = small.run(changes)
  local resumption = resume.find(run, { allow_changes = true }, function() end)
  local self = training.new(run, resumption)
  self.progress = small.silent
  return self, resumption
end

describe('a run that is resumed with another recipe', function()
  after_each(temporary.clean)

  -- At step 20 a stage has ended: three tokens are gone, the next update was to be made without the fourth.
  it('asks the new schedule, also at the end of a stage', function()
    local tables, warned, result = resume_with(killed_at(20), 'schedule={"kind":"points","points":[[20,3],[40,3]]}')
    assert.equal(3, result.removed)
    assert.same({ 3, 3 }, { unpack(small.column(tables.train, 'removed'), 3) })
    expect.mentions(warned, '--resume: ', 'has no moments')
    expect.mentions(small.column(tables.segments, 'changes')[2], 'moments: none', 'schedule.kind: ')
  end)

  it('takes no more for removed than there is, whatever the old schedule had counted to', function()
    local to_all = 'schedule={"kind":"points","points":[[10,8],[50,8]]}'
    local tables, _, result = resume_with(killed_at(40), 'train.steps=50', to_all) -- linear had come to 13 of 8
    assert.equal(8, result.removed)
    assert.equal(8, small.column(tables.train, 'removed')[5])
  end)

  it('tells of held-out examples that it was trained on', function()
    local tables, warned = resume_with(killed_at(20), 'dataset.test=200')
    local seen = warned:match('it was trained on (%d+ of 200 test examples)')
    assert(seen, warned)
    expect.mentions(small.column(tables.segments, 'changes')[2], 'trained on before: ' .. seen)
    local _, silent = resume_with(killed_at(20), 'dataset.train=400') -- a part of what it was trained on
    assert.is_nil(silent:find('trained on', 1, true))
  end)

  -- The first data's training questions are still known after a fork with others, and after a resumption with others.
  it('tells of held-out examples that were trained on long before', function()
    local function warned(changes, options)
      local warnings = {}
      changes.progress = setmetatable({ warn = function(_, text) table.insert(warnings, text) end },
                                      { __index = small.silent })
      local ok, result, path = small.train(changes, options)
      assert.is_true(ok, tostring(result))
      return table.concat(warnings, '\n'), path
    end
    local trunk = killed_at(20)
    local from = checkpoint.path(run_paths.checkpoint_folder(trunk.folder .. '/small.h5'), 20)
    local _, path = warned { settings = { 'fork_from=' .. from, 'dataset.seed=5', 'train.steps=26' } }
    files.remove_tree(trunk.folder)
    local again = checkpoint.path(run_paths.checkpoint_folder(path), 26)
    local of_both = warned { settings = { 'fork_from=' .. again, 'dataset.seed=6' } }
    local of_last = warned { settings = { 'fork_from=' .. again, 'dataset.seed=5' } } -- whose own data are as before
    local both, last = of_both:match('trained on (%d+) of'), of_last:match('trained on (%d+) of')
    assert(tonumber(both) > 0 and tonumber(last) > 0, of_both .. of_last)
    expect.mentions(warned({ folder = path:match('^(.*)/'), settings = { 'fork_from=' .. from, 'dataset.seed=7' } },
                           ALLOWED), 'it was trained on')
  end)

  it('cannot end before where it is, nor have another seed', function()
    for setting, problem in pairs {
      ['train.steps=10'] = '/step-000000020: is of step 20, and train ends the run at step 10',
      ['seed=9'] = 'seed cannot change once a run has begun: it is 9 now and was 3',
    } do
      local changes = killed_at(20)
      table.insert(changes.settings, setting)
      local ok, raised = small.train(changes, ALLOWED)
      assert.is_false(ok)
      expect.mentions(raised.message, problem)
    end
  end)

  it('does not take tokens for steps', function()
    local changes = killed_at(20)
    table.insert(changes.settings, 'removal.unit=step')
    local ok, problem = small.train(changes, ALLOWED)
    assert.is_false(ok)
    expect.mentions(problem.message, '--resume: ', "has 3 tokens removed, but removal.unit is 'step' now",
                    'continue from a checkpoint that still has all CoT')
  end)

  it('has all gone in any unit, and nothing where its method removes no more', function()
    local _, _, result = resume_with(killed_at(30), 'removal.unit=step', 'train.steps=42')
    assert.equal(2, result.removed) -- with two digits a CoT has two steps, the partial products
    _, _, result = resume_with(killed_at(20), 'removal.unit=step', 'method=no_cot', 'schedule=nil')
    assert.equal(2, result.removed)
  end)

  it('is told when that falls behind what is removed already', function()
    local changes = killed_at(20)
    table.insert(changes.settings, 'schedule={"kind":"points","points":[[20,2],[40,8]]}')
    local ok, problem = small.train(changes, ALLOWED)
    assert.is_false(ok)
    expect.mentions(problem.message, '--resume: ', 'has 3 removed at step 20', 'it returned 2 after 3',
                    'a schedule counts updates from the first one of the run')
  end)

  -- The rows of a run of 60 updates, and of one of 40 that was killed after an update and then trained as long.
  local function trained_longer(schedule, killed_after)
    local function train(folder, steps, options)
      local settings = { 'checkpoint.keep.stages=all', 'train.evaluate_every=5', 'train.steps=' .. steps }
      local ok, result, path = small.train({ folder = folder, schedule = schedule, settings = settings }, options)
      assert(ok, tostring(result))
      return path
    end
    local whole, folder = train(temporary.folder(), 60), temporary.folder()
    local path = train(folder, 40)
    for _, each in ipairs(checkpoint.list(run_paths.checkpoint_folder(path))) do
      if each.step > killed_after then files.remove_tree(each.path) end
    end
    return small.rows(whole), small.rows(train(folder, 60, ALLOWED))
  end

  it('has the bits of one that was to be as long from the first, killed at the end of a stage', function()
    assert.same(trained_longer("{ kind = 'gated', tokens = 2, metric = 'loss', threshold = 9, patience = 3 }", 20))
    assert.same(trained_longer([[function(state)
      state.own.calls = (state.own.calls or 0) + 1
      return math.floor(state.own.calls / 7)
    end]], 27))
  end)

  it('goes back if its schedule wants to at once', function()
    local whole, longer = trained_longer([[function(state)
      if state.step == 40 and not state.own.went_back then
        state.own.went_back = true
        return 2, 'rollback'
      end
      return state.own.went_back and 2 or math.min(4, math.floor(state.step / 6))
    end]], 40)
    assert.same(whole.events, longer.events) -- of evaluations the shorter one has those of its end, too
    assert.same(whole.train, longer.train)
  end)

  it('says that there are no moments to keep', function()
    local tables, warned = resume_with(killed_at(20), 'optimizer.reset=keep')
    expect.mentions(warned, 'has no moments', 'whatever optimizer.reset says')
    expect.mentions(small.column(tables.segments, 'changes')[2], 'moments: none', "optimizer.reset: 'all', now 'keep'")
    local _, nothing = resume_with(killed_at(20), 'train.log_every=5')
    assert.equal('', nothing) -- they are reset now, as they were to be
  end)

  it('has moments that are as old as they are, if it is resumed at a stage end that left them out', function()
    local folder = temporary.folder()
    local stopping = { folder = folder, schedule = [[function(state)
      if STOP and state.step == STOP then error('stopped') end
      return state.step < 20 and 0 or 2
    end]], settings = { 'checkpoint.keep.best=false' } }
    rawset(_G, 'STOP', 21)
    small.train(stopping)
    rawset(_G, 'STOP', nil)
    stopping.settings[2] = 'optimizer.reset=keep'
    assert(small.train(stopping, { resume = true, allow_changes = true }))
    local state = checkpoint.read_description(checkpoint.path(folder .. '/small/checkpoints', 40)).state
    assert.same({ 20, 20 }, { state.optimizer_updates, state.optimizer_updates_sq })
  end)

  it('evaluates once more what it now evaluates otherwise', function()
    local changes = killed_at(40)
    local before = small.read(changes.folder .. '/small.h5').tables.eval
    local after = resume_with(changes, 'evaluate.examples=7').eval
    assert.equal(#before.rows + 2, #after.rows) -- validation and test
    local examples = small.column(after, 'examples')
    assert.same({ 7, 7 }, { examples[#examples - 1], examples[#examples] })
  end)

  it('says how long an epoch is now, if that has changed', function()
    local _, warned = resume_with(killed_at(40), 'train.batch=10', 'train.steps=50')
    expect.mentions(warned, 'an epoch has 50 updates now')
  end)

  it('takes a new learning rate as it is, and starts a new schedule with an empty `own`', function()
    local self, resumption = restored_with(killed_at(40), 'optimizer.lr=1e-4', 'schedule.steps_per_token=1')
    cleanup.always(function() self:free() end, function()
      self.lr_scale, self.state.own = 0.25, { kept = true }
      settle.changes(self, resumption)
      assert.same({ 1, {} }, { self.lr_scale, self.state.own })

      self.lr_scale, resumption.lr_scale = 0.25, 0.25 -- it is resumed to learn more slowly
      settle.changes(self, resumption)
      assert.equal(0.25, self.lr_scale)
    end)
  end)
end)
