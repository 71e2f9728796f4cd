--- Scopes: what is made inside is gone when they close, however they are left and whatever the collector does.
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local expect = require 'tests.lua.support.expect'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

scope.run(function() return tensor.ones { 1 } * 2 end) -- makes the engine, its tape and its table of handles

local function depth() return core.C.icot_scope_depth(core.engine()) end

describe('scope.run', function()
  it('frees what was made inside, at once', function()
    local before = core.memory().live
    local inside
    local result, second = scope.run(function(a, b)
      inside = tensor.ones { 1000 }
      assert(core.memory().live > before)
      return a + b, 'two'
    end, 3, 4)
    assert.same({ 7, 'two' }, { result, second })
    assert.equal(before, core.memory().live)
    expect.user_error(inside.shape, inside)
  end)

  it('lets out what is kept', function()
    local kept = scope.run(function() return (tensor.ones { 3 } * 2):keep() end)
    assert.same({ 2, 2, 2 }, kept:totable())
    kept:free()
    expect.mentions(expect.user_error(function()
      local outer = tensor.ones { 1 }
      local ok, problem = pcall(scope.run, function() outer:keep() end)
      outer:free()
      if not ok then error(problem, 0) end
    end), 'only a tensor of the innermost open scope')
  end)

  it('keeps all or none of what is made together', function()
    local function make_three()
      return scope.all_or_none(function()
        return { tensor.zeros { 3000 }, tensor.zeros { 3000 }, tensor.zeros { 3000 } }
      end)
    end
    local made, before = make_three(), core.memory().live
    for _, each in ipairs(made) do each:free() end
    assert(core.memory().live < before)

    before = core.memory().live
    core.C.icot_memory_release_cache()
    for nth = 1, 3 do
      core.C.icot_memory_fail_at(nth)
      expect.mentions(expect.user_error(make_three), 'out of memory')
      assert.equal(before, core.memory().live)
    end
  end)

  it('closes after an error, with all scopes that were opened inside', function()
    local before = core.memory().live
    local ok, problem = pcall(scope.run, function()
      assert(core.C.icot_scope_open(core.engine()) == 0)
      local _ = tensor.ones { 1000 }
      errors.raise('the reason')
    end)
    assert.is_false(ok)
    assert.equal('the reason', problem.message)
    assert.equal(0, depth())
    assert.equal(before, core.memory().live)
  end)

  it('nests', function()
    scope.run(function()
      local outer = tensor.ones { 2 }
      local middle = scope.run(function()
        assert.equal(2, depth())
        return (outer + 1):keep()
      end)
      assert.same({ 2, 2 }, middle:totable())
      assert.equal(1, depth())
    end)
    assert.equal(0, depth())
  end)

  it('frees the tape with the tensors', function()
    local weight = tensor.ones({ 2 }):requires_grad_()
    scope.run(function() return (weight * 2):sum() end) -- never taken backward
    scope.run(function() (weight * 3):sum():backward() end)
    assert.same({ 3, 3 }, weight:grad():totable())
    weight:free()
  end)
end)

describe('scope.no_grad', function()
  it('records nothing inside, and is over after an error', function()
    local weight = tensor.ones({ 2 }):requires_grad_()
    scope.run(function()
      assert.is_false(scope.no_grad(function() return (weight * 2):requires_grad() end))
      assert.is_true((weight * 2):requires_grad())
      assert.is_false(pcall(scope.no_grad, error, 'x'))
      assert.is_true((weight * 2):requires_grad())
      scope.no_grad(function()
        scope.no_grad(function() end)
        assert.is_false((weight * 2):requires_grad())
      end)
    end)
    weight:free()
  end)
end)
