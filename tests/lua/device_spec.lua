--- The device of a run: named in the run file, no part of what a run is, and told plainly where it is missing.
local core = require 'icot.engine.core'
local expect = require 'tests.lua.support.expect'
local program = require 'tests.lua.support.program'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

-- A copy of the program without libicot_cuda.so; what `source`, a C program, is compiled to takes its place.
local function installed_beside(source)
  local folder, share = temporary.folder(), os.getenv('ICOT_HEADER'):match('^(.*)/[^/]*$')
  os.execute(("cd '%s' && mkdir -p bin lib/icot share && cp '%s' bin/ && cp '%s' lib/icot/ && ln -s '%s' share/icot")
    :format(folder, program.icot, os.getenv('ICOT_LIBRARY'), share))
  if source then
    local file = assert(io.open(folder .. '/plugin.c', 'w'))
    file:write(source)
    file:close()
    local library = folder .. '/lib/icot/libicot_cuda.so'
    assert(os.execute(("cc -shared -fPIC -o '%s' '%s/plugin.c'"):format(library, folder)) == 0)
  end
  return folder
end

local function versions_on_cuda(folder)
  local result = program.shell(("'%s/bin/icot' --version --device cuda"):format(folder))
  assert.equal(1, result.code)
  expect.mentions(result.out, 'CPU kernels')
  return result.err
end

describe('the device', function()
  after_each(temporary.clean)

  it('is the CPU, unless something else is asked for', function()
    local ok, result, path = small.train {}
    assert.is_true(ok, tostring(result))
    local attributes = small.read(path).attributes
    assert.equal('cpu', attributes.device)
    assert.equal(core.versions().cpu_kernels, attributes.device_name)
  end)

  it('is one of those that there are', function()
    expect.mentions(expect.user_error(small.run, { settings = { 'device=tpu' } }), 'device', "'cpu' or 'cuda'")
  end)

  it('stays the same as long as the program runs', function()
    core.use_device('cpu')
    core.use_device('cpu')
    expect.mentions(expect.user_error(core.use_device, 'cuda'), "works on 'cpu'", 'icot study')
  end)

  it("is set by a flag, too, and refused where it's not known", function()
    local result = program.shell(("'%s' recipes/quickstart.lua --device tpu"):format(program.icot))
    assert.equal(2, result.code)
    expect.mentions(result.err, '--device', "'cpu', 'cuda'")
  end)

  it('is named by --version, however the flag is written', function()
    for _, flag in ipairs { '--device cpu', '--device=cpu' } do
      local result = program.shell(("'%s' --version %s"):format(program.icot, flag))
      assert.equal(0, result.code, result.err)
      expect.mentions(result.out, ('\n%-12s %s\n'):format('cpu', core.versions().cpu_kernels))
    end
    assert.equal(1, program.shell(("'%s' --version --device=tpu"):format(program.icot)).code)
  end)
end)

describe('libicot_cuda.so', function()
  after_each(temporary.clean)

  it('is missed only by those who ask for it', function()
    local folder = installed_beside()
    expect.mentions(versions_on_cuda(folder), 'libicot_cuda.so, which was not built')
    assert.equal(0, program.shell(("'%s/bin/icot' --version"):format(folder)).code)
  end)

  it('must be a library', function()
    local folder = installed_beside()
    assert(os.execute(("echo no library > '%s/lib/icot/libicot_cuda.so'"):format(folder)) == 0)
    expect.mentions(versions_on_cuda(folder), 'libicot_cuda.so cannot be loaded')
  end)

  it('is opened before a run that is resumed touches anything', function()
    local ok, result, path = small.train {}
    assert.is_true(ok, tostring(result))
    local again = program.shell(("'%s/bin/icot' '%s' --out '%s' --resume --allow-changes --device cuda "
      .. '--set train.steps=50'):format(installed_beside(), path:gsub('%.h5$', '.lua'), path))
    assert.equal(1, again.code)
    expect.mentions(again.err, 'libicot_cuda.so, which was not built')
    assert.equal('finished', small.read(path).attributes.end_state)
  end)

  it("must be icot's", function()
    expect.mentions(versions_on_cuda(installed_beside 'int other;'), 'it has no icot_cuda_open')
  end)

  it('must be of the same version', function()
    local folder = installed_beside 'int icot_cuda_open(const void *core, int *out) { *out = 999; return !core; }'
    expect.mentions(versions_on_cuda(folder), 'libicot_cuda.so belongs to another version')
  end)

  it('finds a card, or says that there is none', function()
    local beside = os.getenv('ICOT_LIBRARY'):gsub('libicot%.so$', 'libicot_cuda.so')
    if not io.open(beside) then return pending('it was not built') end
    local result = program.shell(("'%s' --version --device cuda"):format(program.icot))
    if result.code == 0 then return expect.mentions(result.out, 'cuda', 'compute capability') end
    assert.matches('^icot: cuda: [^\n]+\n$', result.err)
  end)
end)
