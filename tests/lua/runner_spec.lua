--- tests/run itself: whatever goes wrong in a suite, the whole must fail, and the last line must say so.
local program = require 'tests.lua.support.program'
local temporary = require 'tests.lua.support.temporary'

local passing = "describe('x', function() it('a', function() end) end)"

-- Runs tests/run over planted suites: Lua texts, and shell scripts in the place of C programs.
local function run_over(lua, c)
  local folder = temporary.folder()
  temporary.write(folder .. '/tests/run', temporary.read('tests/run'))
  temporary.write(folder .. '/build/tests/.keep', '')
  for name, text in pairs(lua) do temporary.write(('%s/tests/lua/%s_spec.lua'):format(folder, name), text) end
  for name, text in pairs(c or {}) do
    temporary.write(('%s/tests/c/test_%s.c'):format(folder, name), '')
    temporary.write(('%s/build/tests/test_%s'):format(folder, name), '#!/bin/sh\n' .. text)
  end
  local result = program.shell(('cd %s && chmod -R +x build/tests && bash tests/run build 2>/dev/null'):format(folder))
  return result.code, result.out:match('([^\n]*)\n$'), result.out
end

describe('tests/run', function()
  after_each(temporary.clean)

  it('adds up suites that pass', function()
    local code, last = run_over({ a = passing, b = "describe('y', function() pending('c') end)" },
      { c = 'echo 1..2; echo "ok 1 - p"; echo "ok 2 - q"' })
    assert.same({ 0, '3 passed, 0 failed, 1 skipped' }, { code, last })
  end)

  it('fails with a failing Lua test', function()
    local failing = "describe('y', function() it('c', function() assert(false, 'why') end) end)"
    local code, last, out = run_over { a = passing, b = failing }
    assert.same({ 1, '1 passed, 1 failed, 0 skipped' }, { code, last })
    assert.matches('why', out, 1, true)
  end)

  it('fails with a failing C test, and skips as cmocka does', function()
    local program_text = 'echo 1..3; echo "ok 1 - p"; echo "not ok 2 - q"; echo "not ok 3 # SKIP r"; exit 1'
    local code, last = run_over({}, { c = program_text })
    assert.same({ 1, '1 passed, 1 failed, 1 skipped' }, { code, last })
  end)

  local broken = {
    ['dies midway'] = { {}, { c = 'echo 1..3; echo "ok 1 - p"; kill -SEGV $$' }, '1 passed, 1 failed, 0 skipped' },
    ['runs fewer tests than it said'] = { {}, { c = 'echo 1..3; echo "ok 1 - p"' }, '1 passed, 1 failed, 0 skipped' },
    ['fails at its end'] = { {}, { c = 'echo 1..1; echo "ok 1 - p"; exit 7' }, '1 passed, 1 failed, 0 skipped' },
    ['runs nothing'] = { {}, { c = 'exit 0' }, '0 passed, 1 failed, 0 skipped' },
    ['has a syntax error'] = { { a = 'describe(' }, {}, '0 passed, 1 failed, 0 skipped' },
    ['leaves early'] = { { a = "describe('x', function() it('a', function() os.exit(0) end) end)" }, {},
      '0 passed, 1 failed, 0 skipped' },
  }
  for name, case in pairs(broken) do
    it('fails with a suite that ' .. name, function()
      local code, last = run_over(case[1], case[2])
      assert.same({ 1, case[3] }, { code, last })
    end)
  end

  it('fails where there is no test', function()
    local code, last = run_over {}
    assert.same({ 1, '0 passed, 0 failed, 0 skipped' }, { code, last })
  end)
end)
