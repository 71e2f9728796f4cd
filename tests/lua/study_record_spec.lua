--- A study that is resumed goes on with what it was started with last, whatever has become of single runs.
local expect = require 'tests.lua.support.expect'
local files = require 'icot.base.files'
local program = require 'tests.lua.support.program'
local temporary = require 'tests.lua.support.temporary'

local recipe = [[
return {
  method = 'icot', seeds = { 1 }, output = 'r/s.h5',
  dataset = { task = 'multiplication', digits = 2, train = 60, valid = 10, test = 10 },
  model = { layers = 1, heads = 1, width = 8 }, schedule = { kind = 'linear', steps_per_token = 1 },
  train = { batch = 10, steps = 12, evaluate_every = 6 },
}]]

local folder

local function icot(...)
  return program.run_in(folder, ...)
end

-- The seeds in the table of results.
local function seeds_in(out)
  local seeds = {}
  for seed in out:gmatch('\nicot +(%d+) +icot ') do seeds[#seeds + 1] = tonumber(seed) end
  return seeds
end

describe('a study that is resumed', function()
  before_each(function()
    folder = temporary.folder()
    temporary.write(folder .. '/s.lua', recipe)
    assert.equal(0, icot('s.lua', '--quiet').code)
  end)
  after_each(temporary.clean)

  it('has the runs that it was started with last, also those that have not begun', function()
    assert.equal(0, icot('s.lua', '--quiet', '--resume', '--set', 'seeds=[1,2,3]').code)
    for _, seed in ipairs { 2, 3 } do -- as if it had been killed before they had a checkpoint
      files.remove_tree(('%s/r/s/icot-%d'):format(folder, seed))
      os.remove(('%s/r/s/icot-%d.h5'):format(folder, seed))
    end
    local done = icot('--resume', 'r/s.h5', '--quiet')
    assert.same({ 0, '' }, { done.code, done.err })
    assert.same({ 1, 2, 3 }, seeds_in(done.out))
  end)

  it('leaves out runs of a study that was begun anew in its place', function()
    assert.equal(0, icot('s.lua', '--quiet', '--force', '--set', 'seeds=[4]').code)
    local done = icot('--resume', 'r/s.h5', '--quiet')
    assert.same({ 0, '' }, { done.code, done.err })
    assert.same({ 4 }, seeds_in(done.out))
    local lost = icot('s.lua', '--resume', '--quiet', '--set', 'seeds=[5]')
    expect.mentions(lost.err, 'its run r/s/icot-4.h5 is no longer part of the study')
  end)

  it('goes on with the others if one has no checkpoint any more', function()
    assert.equal(0, icot('s.lua', '--quiet', '--resume', '--set', 'seeds=[1,2]').code)
    files.remove_tree(folder .. '/r/s/icot-1/checkpoints')
    files.remove_tree(folder .. '/r/s/icot-2')
    os.remove(folder .. '/r/s/icot-2.h5')
    local done = icot('--resume', 'r/s.h5', '--quiet')
    assert.equal(1, done.code)
    expect.mentions(done.err, 'icot seed 1: r/s/icot-1.h5: there is no checkpoint', 'remove the files of this one')
    assert.matches('icot +1 +icot .*failed', done.out)
    assert.matches('icot +2 +icot +8', done.out)
  end)

  it('says that its record is damaged', function()
    temporary.write(folder .. '/r/s/study.json', '{"runs": [1]}')
    local done = icot('--resume', 'r/s.h5')
    assert.equal(1, done.code)
    expect.mentions(done.err, 'r/s/study.json: ', 'remove it to resume')
  end)
end)
