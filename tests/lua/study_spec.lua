--- icot.study: runs one after another, what is checked before, and what is told after.
local core = require 'icot.engine.core'
local result_table = require 'icot.study.result_table'
local study = require 'icot.study'
local errors = require 'icot.base.errors'
local expect = require 'tests.lua.support.expect'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

local function recipe_in(folder, is_study)
  local self = {
    name = 'mine', source = 'return {}', config_json = '{}', is_study = is_study,
    output = folder .. '/mine.h5', runs = {}, collapse_below = 0.5,
  }
  for seed = 1, is_study and 3 or 1 do
    local stem = is_study and ('%s/mine/icot-%d'):format(folder, seed) or folder .. '/mine'
    self.runs[seed] = {
      recipe = 'mine', label = is_study and 'icot seed ' .. seed or 'mine', arm = 'icot', seed = seed,
      config = { method = 'icot' }, config_json = '{}', source = '', output = stem .. '.h5', model_output = stem,
    }
  end
  return self
end

local function sink()
  local texts = {}
  return {
    write = function(self, ...)
      for _, text in ipairs { ... } do texts[#texts + 1] = text end
      return self
    end,
    flush = function() end, text = function() return table.concat(texts) end,
  }
end

local finished = {
  status = 'finished', accuracy = 0.5, removed = 8, updates = 100, tokens = 12345, flops = 1e9, seconds = 65,
}

-- Runs a study whose trainings are `train`; gives back how it ended, the results, and what was written.
local function run(recipe, train, options)
  options = options or {}
  options.train, options.out, options.err, options.quiet = train, sink(), sink(), true
  local ok, results = study.run(recipe, options)
  return ok, results, options.out.text(), options.err.text()
end

describe('a study', function()
  after_each(temporary.clean)

  it('may be interrupted before anything was trained', function()
    core.check(core.C.icot_interrupts_catch())
    finally(function() core.C.icot_interrupts_clear() end)
    os.execute('kill -TERM $PPID')
    for _, is_study in ipairs { false, true } do
      local ok, results, out = run(recipe_in(temporary.folder(), is_study), function() error('not called') end)
      assert.is_false(ok)
      assert.same({}, results)
      assert.is_nil(out:find('resume', 1, true)) -- there is nothing to go on from
    end
  end)

  it('runs everything in order and shows a table and its index', function()
    local recipe, seeds = recipe_in(temporary.folder(), true), {}
    local ok, results, out = run(recipe, function(one)
      seeds[#seeds + 1] = one.seed
      return finished
    end)
    assert.is_true(ok)
    assert.same({ 1, 2, 3 }, seeds)
    assert.equal(3, #results)
    assert.matches('study +' .. recipe.output:gsub('%p', '%%%0'), out)
    assert.is_truthy(temporary.read(recipe.output))
  end)

  it('goes on after a run that fails, and says so', function()
    local recipe = recipe_in(temporary.folder(), true)
    local ok, results, out, err = run(recipe, function(one)
      if one.seed == 2 then errors.raise('the loss is nan') end
      return finished
    end)
    assert.is_false(ok)
    assert.same({ 'finished', 'failed', 'finished' }, { results[1].status, results[2].status, results[3].status })
    assert.equal('icot: icot seed 2: the loss is nan\n', err)
    assert.matches('icot +2 .* failed', out)
  end)

  it('tells a bug from a mistake, and shows where it is when asked to', function()
    local function buggy() error('boom') end
    local _, _, _, err = run(recipe_in(temporary.folder(), true), buggy)
    assert.matches('study_spec%.lua:%d+: boom %(this looks like a bug in icot; %-%-traceback shows more%)', err)
    assert.is_nil(err:find('stack traceback', 1, true))
    _, _, _, err = run(recipe_in(temporary.folder(), true), buggy, { traceback = true })
    assert.matches('stack traceback', err, 1, true)
  end)

  it('stops when the user ends it', function()
    local recipe = recipe_in(temporary.folder(), true)
    local ok, results = run(recipe, function() return { status = 'interrupted', accuracy = 0 / 0 } end)
    assert.is_false(ok)
    assert.equal(1, #results)
  end)

  it('passes on whether results may be replaced', function()
    local seen
    run(recipe_in(temporary.folder()), function(_, options)
      seen = options.overwrite
      return finished
    end, { overwrite = true })
    assert.is_true(seen)
  end)
end)

describe('a single run', function()
  after_each(temporary.clean)

  it('shows its run file', function()
    local recipe = recipe_in(temporary.folder())
    local ok, _, out = run(recipe, function() return finished end)
    assert.is_true(ok)
    assert.matches('run file +' .. recipe.output:gsub('%p', '%%%0'), out)
  end)

  it('that fails says only why', function()
    local ok, _, out, err = run(recipe_in(temporary.folder()), function() errors.raise('no such file') end)
    assert.is_false(ok)
    assert.same({ '', 'icot: no such file\n' }, { out, err })
  end)
end)

describe('before the first run', function()
  after_each(temporary.clean)

  local function never() error('a run was started') end

  local function refusal(recipe, options)
    return expect.user_error(study.run, recipe, {
      train = never, out = sink(), err = sink(), quiet = true, overwrite = options and options.overwrite,
    })
  end

  it('no result may be there, not even the last', function()
    for _, taken in ipairs { 'mine.h5', 'mine/icot-3.h5', 'mine/icot-3/model.safetensors' } do
      local folder = temporary.folder()
      temporary.write(folder .. '/' .. taken, 'precious')
      local message = refusal(recipe_in(folder, true))
      local path = folder .. '/' .. taken
      local going_on = taken:find('%.h5$') and '--resume continues it, ' or ''
      local expected = path .. ': already exists; ' .. going_on .. '--force overwrites it, --out chooses another path'
      assert.equal(expected, message)
      assert.equal('precious', temporary.read(folder .. '/' .. taken))
    end
  end)

  it('unless it may be replaced', function()
    local recipe = recipe_in(temporary.folder(), true)
    temporary.write(recipe.output, 'old')
    assert.is_true((run(recipe, function() return finished end, { overwrite = true })))
    assert.are_not.equal('old', temporary.read(recipe.output))
  end)

  it('a folder in the way is an error', function()
    local recipe = recipe_in(temporary.folder())
    temporary.write(recipe.output .. '/file', '')
    assert.matches('mine.h5: is a folder, expected the path of a file', refusal(recipe, { overwrite = true }), 1, true)
  end)

  it('a file where a folder must be is an error', function()
    local folder = temporary.folder()
    temporary.write(folder .. '/mine', '')
    assert.matches('mine: is a file, expected a folder', refusal(recipe_in(folder, true)), 1, true)
  end)

  it('the folder must be writable', function()
    local recipe = recipe_in('/proc/none')
    assert.matches('/proc/none: cannot make this folder: ', refusal(recipe), 1, true)
    recipe = recipe_in('/proc')
    assert.matches('^/proc: cannot write there: ', refusal(recipe))
  end)
end)

describe('what the arms come to', function()
  after_each(temporary.clean)

  local function result(accuracy, explicit, status)
    return setmetatable({ accuracy = accuracy, explicit_accuracy = explicit, status = status }, { __index = finished })
  end

  -- Three seeds with these results; raises where there is none.
  local function study_of(results)
    local recipe = recipe_in(temporary.folder(), true)
    local _, _, out = run(recipe, function(one) return results[one.seed] or errors.raise('broken') end)
    return out, small.read(recipe.output).tables
  end

  local function row_of(tables)
    assert.equal(1, #tables.arms.rows)
    local row = {}
    for i, name in ipairs(tables.arms.columns) do row[name] = tables.arms.rows[1][i] end
    return row
  end

  it('stands below the runs and in the index', function()
    local out, tables = study_of { result(0.8, 0.9), result(0.9, 0.9), result(0.2, 0.9) }
    assert.matches('\narm   runs  accuracy   95 % interval  collapsed  updates  tokens  flops   time\n', out, 1, true)
    assert.matches('\nicot     3     0.633  0.000 to 1.000       33 %%      100   12.3k  1.00G  1m05s\n', out)
    local row = row_of(tables)
    assert.same({ 'icot', 3, 3, 1, 0, 1 }, { row.arm, row.runs, row.finished, row.collapsed, row.accuracy_low,
                                             row.accuracy_high })
    assert.near(1.9 / 3, row.accuracy_mean, 1e-9)
    assert.near(1 / 3, row.collapse_rate, 1e-9)
    assert.near(12345, row.tokens_mean, 1e-9)
  end)

  it('takes only runs that have ended by themselves', function()
    local _, tables = study_of { result(0.8, 0.9), nil, result(0.9, 0.9) }
    local row = row_of(tables)
    assert.same({ 3, 2, 0 }, { row.runs, row.finished, row.collapse_rate })
    assert.near(0.85 - 12.7062 * 0.05, row.accuracy_low, 1e-4)
  end)

  it('counts a run as collapsed that was ended for it, and none that had nothing to lose', function()
    local _, tables = study_of { result(0.01, 0.02, 'collapsed'), result(0, nil), result(0.01, 0.02) }
    local row = row_of(tables)
    assert.same({ 3, 1, 1 }, { row.finished, row.collapsed, row.collapse_rate })
    local _, untested = study_of { result(0 / 0, 0.9), result(0.01, 0.9), result(0 / 0, 0.9) } -- no time for the test
    row = row_of(untested)
    assert.same({ 1, 1 }, { row.collapsed, row.collapse_rate })
    local unknown = study_of { result(0, nil), result(0, nil), result(0, nil) }
    assert.matches('\nicot     3     0.000  0.000 to 0.000          %-', unknown)
  end)
end)

describe('the table of results', function()
  local runs = {
    { arm = 'no_cot', seed = 1, config = { method = 'no_cot' } },
    { arm = 'a', seed = 23, config = { method = 'icot' } },
  }

  it('has aligned columns', function()
    assert.same({
      'arm     seed  method  removed  accuracy  updates  tokens   time',
      'no_cot     1  no_cot        8     0.500      100   12.3k  1m05s',
      'a         23  icot          8     0.500      100   12.3k  1m05s',
    }, result_table.lines(runs, { finished, finished }))
  end)

  it('shows the explicit accuracy and the status only when there is something to tell', function()
    assert.same({
      'arm     seed  method  removed  explicit  accuracy  updates  tokens   time  status',
      'no_cot     1  no_cot        -         -         -        -       -      -  failed',
      'a         23  icot          8     0.990     0.500      100   12.3k  1m05s  finished',
    }, result_table.lines(runs, {
      { status = 'failed' }, setmetatable({ explicit_accuracy = 0.99 }, { __index = finished }),
    }))
  end)

  it('shows no accuracy where none was measured', function()
    local lines = result_table.lines(runs, { { status = 'interrupted', accuracy = 0 / 0, removed = 3 } })
    assert.equal('no_cot     1  no_cot        3         -        -       -     -  interrupted', lines[2])
  end)
end)
