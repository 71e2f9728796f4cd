--- The inputs that the fuzz targets begin with, each taken by its target: what `make fuzz` does, without the fuzzing.
local coverage = dofile 'tests/fuzz/coverage.lua'
local harness = require 'tests.fuzz.harness'
local lfs = require 'lfs'
local parts = require 'tests.fuzz.parts'
local temporary = require 'tests.lua.support.temporary'

after_each(temporary.clean)

local function targets()
  local found = {}
  for name in lfs.dir 'tests/fuzz/targets' do found[#found + 1] = name:match('^(.*)%.lua$') end
  table.sort(found)
  return found
end

describe('fuzz target', function()
  for _, name in ipairs(targets()) do
    it(name .. ' takes its seeds', function()
      local take, count = harness.load(name, temporary.folder(), 1), 0
      for file_name, bytes in pairs(harness.seeds(name)) do
        local ok, problem = pcall(take, bytes)
        assert(ok, ('tests/fuzz/corpus/%s/%s: %s'):format(name, file_name, tostring(problem)))
        count = count + 1
      end
      assert.is_true(count > 0)
    end)
  end
end)

describe('fuzz harness', function()
  local errors = require 'icot.base.errors'

  -- Runs a target on one input; gives what it finds.
  local function finding(target)
    package.loaded['tests.fuzz.targets.json'] = function() return target end
    finally(function() package.loaded['tests.fuzz.targets.json'] = nil end)
    local take = harness.load('json', temporary.folder(), 1)
    local ok, problem = pcall(take, '')
    return not ok and problem or nil
  end

  it('takes user errors, and finds all others', function()
    assert.is_nil(finding(function() errors.raise('bad input') end))
    assert.matches('attempt to index', finding(function(bytes) return bytes.x.y end))
    assert.matches('without a message', finding(function() errors.raise('') end))
  end)

  it('finds memory and files that are left', function()
    local kept = {}
    local tensor = require 'icot.tensor'
    assert.matches('bytes of the core are left', finding(function() kept[#kept + 1] = tensor.zeros { 100 } end))
    for _, each in ipairs(kept) do each:free() end

    local path, opened = temporary.file 'x', {}
    local folder = path:match('^(.*)/')
    package.loaded['tests.fuzz.targets.json'] = function()
      return function() opened[#opened + 1] = assert(io.open(path)) end
    end
    local ok, problem = pcall(harness.load('json', folder, 1), '')
    package.loaded['tests.fuzz.targets.json'] = nil
    for _, file in ipairs(opened) do file:close() end
    assert.is_false(ok)
    assert.matches('a file is left open', problem)
  end)
end)

describe('fuzz parts', function()
  it('are cut at their names', function()
    assert.same({}, parts.split '')
    assert.same({}, parts.split 'abc\n===')
    assert.same({ a = '' }, parts.split '=== a\n')
    assert.same({ a = 'x\ny', b = '' }, parts.split '=== a\nx\ny\n=== b\n')
    assert.same({ a = '2' }, parts.split 'ignored\n=== a\n1\n=== a\n2')
    assert.same({ a = '', b = 'x' }, parts.split '=== a\n\n=== b\nx')
  end)
end)

describe('fuzz coverage', function()
  local counts

  before_each(function()
    coverage.install {}
    counts = rawget(_G, 'icot_coverage').counts
  end)

  after_each(function()
    table.remove(package.loaders, 2)
    rawset(_G, 'icot_coverage', nil)
  end)

  it('counts blocks and conditions, and changes nothing', function()
    local first = #counts
    local made = assert(loadstring(coverage.instrument [==[
      local a, b = ... -- if and or "
      local text = [[ end ]] .. 'or "' .. "\"then"
      local function double(x) return x and 2 * x or nil end
      for _ = 1, a do b = b + 1 end
      if b > 3 then return double(b), text else return 'no', debug.getinfo(1, 'l').currentline end
    ]==]))
    assert.same({ 10, ' end or ""then' }, { made(3, 2) })
    assert.same({ 1, 1, 0, 3, 1, 1, 0 }, { unpack(counts, first + 1, first + 7) })
    assert.same({ 'no', 5 }, { made(0, 0) })
    assert.same({ 1, 1, 0, 3, 2, 1, 1 }, { unpack(counts, first + 1, first + 7) })
    coverage.clear()
    assert.equal(0, counts[first + 1])
  end)

  it('loads every module as it is', function()
    local count = 0
    for path in io.popen("find lua/icot -name '*.lua'"):lines() do
      assert(loadstring(coverage.instrument(temporary.contents(path)), path))
      count = count + 1
    end
    assert.is_true(count > 100)
  end)
end)
