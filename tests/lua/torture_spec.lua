--- `make torture` in short: a training is killed ten times, resumed each time, and ends as one that was left alone.
local program = require 'tests.lua.support.program'
local python = require 'tests.lua.support.python'
local temporary = require 'tests.lua.support.temporary'

describe('a training', function()
  after_each(temporary.clean)

  it('survives ten kills at random moments', function()
    local result = program.shell(('%s tests/torture/torture.py %s 10'):format(python.program, program.icot))
    assert.equal(0, result.code, result.err)
    assert.matches('^10 kills', result.out)
  end)
end)
