--- `make torture` and `make follow` in short.
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

  it('shows only whole rows to those who read along', function()
    local result = program.shell(('%s tests/torture/follow.py %s 3'):format(python.program, program.icot))
    assert.equal(0, result.code, result.err)
    assert.matches(': all whole\n$', result.out)
  end)
end)
