--- `icot frontier`: what the stages of a run are good for.
local checkpoint = require 'icot.saved.checkpoint'
local frontier = require 'icot.frontier'
local kept_stages = require 'icot.saved.kept_stages'
local program = require 'tests.lua.support.program'
local run_paths = require 'icot.results.run_paths'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local expect = require 'tests.lua.support.expect'

local function points_of(rows)
  local points = {}
  for i, row in ipairs(rows) do
    points[i] = { removed = row[1], accuracy = row[2], tokens_per_example = row[3], milliseconds_single = row[4] or 1 }
  end
  return points
end

local function marks(points, field)
  local list = {}
  for i, point in ipairs(points) do list[i] = point[field] end
  return list
end

describe('the frontier', function()
  it('has the points that none beats in both accuracy and cost', function()
    local points = points_of { { 0, 0.9, 30, 5 }, { 4, 0.95, 26, 9 }, { 8, 0.7, 26, 3 }, { 12, 0.7, 18, 4 },
                               { 16, 0.1, 18, 1 } }
    frontier.mark(points)
    assert.same({ false, true, false, true, false }, marks(points, 'on_frontier_tokens'))
    assert.same({ true, true, true, false, true }, marks(points, 'on_frontier_time'))
  end)

  it('keeps points that are equal', function()
    local points = points_of { { 0, 0.5, 10 }, { 0, 0.5, 10 } }
    frontier.mark(points)
    assert.same({ true, true }, marks(points, 'on_frontier_tokens'))
  end)

  it('chooses the most internalized one that is about as good as with all CoT', function()
    local points = points_of { { 0, 0.3, 30 }, { 0, 0.95, 30 }, { 4, 0.94, 26 }, { 8, 0.93, 22 }, { 12, 0.945, 18 },
                               { 16, 0.2, 14 } }
    assert.equal(0.95, frontier.explicit_accuracy(points))
    assert.equal(points[5], frontier.choose(points, 0.95))
    assert.same({ false, false, false, false, true, false }, marks(points, 'chosen'))
    assert.is_nil(frontier.choose(points, nil))
    points = points_of { { 0, 0.025, 30 }, { 4, 0.015, 26 } } -- 0.025 - 0.01 is a little more than 0.015
    assert.equal(points[2], frontier.choose(points, 0.025))
    assert.is_nil(frontier.explicit_accuracy(points_of { { 4, 0.9, 1 } }))
  end)
end)

describe('icot frontier', function()
  after_each(temporary.clean)

  local function icot(...)
    return program.run({ 'frontier', ... })
  end

  -- A run with a stage every two tokens: 0, 2, 4, 6 and all 8 removed.
  local function trained(keep)
    local ok, result, path = small.train {
      schedule = 'function(state) return math.max(0, math.floor((state.step - 8) / 4)) * 2 end',
      more = (' checkpoint = { keep = { stages = %s } },'):format(keep),
    }
    assert.is_true(ok, tostring(result))
    return path, result
  end

  it('measures all stages and writes them to a file', function()
    local path, result = trained "'all'"
    local shown = icot(path, '--single', '5', '--threads', '1')
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.out, 'step  removed  CoT left  accuracy  tokens  ms, batch 256  ms, batch 1  best for',
                    'Most internalized within 0.01 of the accuracy with all CoT', '/checkpoints/step-0000000')
    assert.is_nil(shown.out:find('The run kept', 1, true))
    local found = small.read((path:gsub('%.h5$', '.frontier.h5')))
    local rows = found.tables.frontier
    assert.same({ 0, 2, 4, 6, 8 }, small.column(rows, 'removed'))
    assert.same({ 8, 6, 4, 2, 0 }, small.column(rows, 'cot_left'))
    local accuracy, tokens = small.column(rows, 'accuracy'), small.column(rows, 'tokens_per_example')
    assert.near(result.accuracy, accuracy[5], 1e-9) -- the last one was measured on the same examples
    for i = 1, 5 do
      for _, time in ipairs { 'milliseconds_single', 'milliseconds_batch' } do
        assert.is_true(small.column(rows, time)[i] > 0)
      end
      assert.is_true(tokens[i] >= 1 and tokens[i] <= 8 + 4 + 3)
    end
    assert.same({ 'frontier', path, 'icot' }, { found.attributes.kind, found.attributes.run, found.attributes.arm })
    assert.matches('step%-000000012$', small.column(rows, 'checkpoint')[1])
    local function evaluated(step)
      return program.run({ 'eval', ('%s/checkpoints/step-%09d'):format(path:gsub('%.h5$', ''), step) }).out
    end
    expect.mentions(evaluated(small.column(rows, 'step')[2]), ('accuracy         %.4f'):format(accuracy[2]))
  end)

  it('says if stages are missing, and never overwrites by itself', function()
    local path = trained '1'
    local out = path:gsub('%.h5$', '-else.h5')
    local shown = icot(path, '--single', '2', '--examples', '3', '--out', out)
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.out, 'No checkpoint with all CoT was kept', 'The run kept its last 1 stage ends')
    local again = icot(path, '--out', out)
    assert.same({ 1, ('icot: %s: already exists; --force overwrites it, --out chooses another path\n'):format(out) },
                { again.code, again.err })
    assert.equal(0, icot(path, '--single', '2', '--examples', '1000', '--out', out, '--force').code)
    local tokens = small.column(small.read(out).tables.frontier, 'tokens_per_example')
    assert.is_true(tokens[1] >= 1) -- of the 30 that there are
  end)

  it('knows the checkpoints that are there, though one goes while it looks, and says if one goes later', function()
    local path, list = trained "'all'", checkpoint.list
    local folder, lists = run_paths.checkpoint_folder(path), 0
    finally(function() checkpoint.list = list end)
    checkpoint.list = function(...)
      local found = list(...)
      lists = lists + 1
      if lists == 1 then checkpoint.remove(found[2].path) end
      return found
    end
    local found = kept_stages.checkpoints(path, 'frontier')
    assert.same({ 2, #list(folder) }, { lists, #found + 1 }) -- all but that of step 0
    os.execute(('ln -s nowhere %s/step-999999999'):format(folder))
    expect.mentions(expect.user_error(kept_stages.checkpoints, path, 'frontier'), 'step-999999999/checkpoint.json: ')
    local function remove_one() checkpoint.remove(found[1].path) end
    assert.matches('^/.*/step%-%d+: was removed meanwhile, since its run continues', expect.user_error(
      frontier.measure, found, { single = 1, on_data = remove_one }, function() end))
  end)

  it('says if there is nothing to measure', function()
    local none = temporary.folder() .. '/none.h5'
    local shown = icot(none)
    assert.equal(1, shown.code)
    assert.equal(('icot: frontier: %s: there is no such run\n'):format(none), shown.err)
    assert.equal('icot: frontier: mine/a.lua: is a recipe; name the run file that it wrote, such as results/a.h5\n',
                 icot('mine/a.lua').err)
  end)
end)
