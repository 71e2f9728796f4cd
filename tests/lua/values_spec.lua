--- icot.base.values: what a message shows of a value, and copies.
local expect = require 'tests.lua.support.expect'
local values = require 'icot.base.values'

describe('a value', function()
  it('is shown on one line, however long and strange', function()
    assert.equal("'a?b'", values.show('a\nb'))
    assert.is_true(#values.show(('x'):rep(1000)) < 70)
    assert.equal("'" .. ('x'):rep(60) .. "'", values.show(('x'):rep(60)))
    assert.equal("'x" .. ('é'):rep(28) .. "…'", values.show('x' .. ('é'):rep(100))) -- and no half of one
    assert.equal("'" .. ('é'):rep(28) .. "…'", values.show(('é'):rep(100)))
  end)

  it('is copied in depth', function()
    local given = { a = { 1, 2 } }
    local copied = values.copy(given)
    copied.a[1] = 7
    assert.same({ a = { 1, 2 } }, given)
  end)

  it('is no table that contains itself', function()
    local given = {}
    given.inner = given
    expect.mentions(expect.user_error(values.copy, given, 'recipe'), 'recipe: tables lie in each other', 'itself')
  end)
end)
