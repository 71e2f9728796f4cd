--- `icot checkpoints`: what a run has kept, and what becomes of mistakes.
local expect = require 'tests.lua.support.expect'
local program = require 'tests.lua.support.program'
local small_training = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

local run, folder

before_each(function()
  local ok, problem, path = small_training.train { more = "\n  checkpoint = { keep = { stages = 3 } }," }
  assert(ok, problem)
  run, folder = path, path:gsub('%.h5$', '/checkpoints')
end)
after_each(temporary.clean)

local function icot(...)
  return program.run { 'checkpoints', ... }
end

-- The rows of the table, by step: what stands behind it.
local function rows_of(output)
  local rows = {}
  for step, rest in output:gmatch('\n *(%d+)  ([^\n]*)') do rows[tonumber(step)] = rest end
  return rows
end

describe('icot checkpoints', function()
  it('shows how much is removed at each, and why it is kept', function()
    local done = icot(run)
    assert.equal('', done.err)
    assert.equal(0, done.code)
    local rows = rows_of(done.out)
    -- update t (from 1) removes floor((t - 13)/2) of 8 tokens: 6 from the 25th on, 7 from the 27th, 8 from the 29th
    assert.matches('^      5 .*end of a stage .*/step%-000000024$', rows[24])
    assert.matches('^      6 .*end of a stage .*/step%-000000026$', rows[26])
    assert.matches('^      7 .*end of a stage .*/step%-000000028$', rows[28])
    assert.matches('end of the run %(finished%)', rows[40])
    assert.is_nil(rows[22])
    assert.equal(1, select(2, done.out:gsub('best', '')))
  end)

  it('passes over one that is damaged, and tells of it', function()
    temporary.write(folder .. '/step-000000026/checkpoint.json', '{')
    local done = icot(run)
    assert.equal(0, done.code)
    expect.mentions(done.err, 'step-000000026/checkpoint.json')
    local rows = rows_of(done.out)
    assert.is_nil(rows[26])
    assert.is_truthy(rows[28])
  end)

  it('wants a run file', function()
    local of_a_checkpoint, of_none = icot(folder .. '/step-000000026'), icot('results/none.h5')
    assert.equal(1, of_a_checkpoint.code)
    assert.equal(1, of_none.code)
    expect.mentions(of_a_checkpoint.err, 'is a checkpoint; name its run, ' .. run)
    expect.mentions(of_none.err, 'results/none.h5: there is no such run')
  end)
end)
