--- `make bundle-check`: the bundle in a root where there is nothing else but glibc, /proc and /dev/null.
---
--- There it lies in a folder with spaces in its name that can only be read, is called through a link, and finds an
--- environment that leads elsewhere: LD_LIBRARY_PATH, LUA_PATH and LUA_CPATH name files that cannot be loaded.
local json = require 'cjson'
local lfs = require 'lfs'
local program = require 'tests.lua.support.program'
local python = require 'tests.lua.support.python'
local temporary = require 'tests.lua.support.temporary'

local MOST_BYTES = 60e6
local PLACE, OTHER_PLACE = '/shared software/icot', '/moved to/another place'
local GLIBC = { ['ld-linux-x86-64'] = true, libc = true, libm = true, libdl = true, libpthread = true, librt = true }

local tarball = assert(os.getenv('ICOT_BUNDLE'), 'ICOT_BUNDLE is not set; use make bundle-check')
local made_again = assert(os.getenv('ICOT_BUNDLE_AGAIN'), 'ICOT_BUNDLE_AGAIN is not set; use make bundle-check')
local folder, root, can_enter -- where the bundle lies outside, the bare root, whether chroot is allowed

local function shell(command, ...)
  local result = program.shell(command:format(...))
  assert.equal(0, result.code, result.err)
  return result.out
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch('[^\n]+') do lines[#lines + 1] = line end
  return lines
end

-- ---- The bare root -----------------------------------------------------------------------------

-- Files that would be found first if anybody looked: empty libraries and modules in C, modules in Lua that raise.
local function put_decoys()
  for _, name in ipairs(lines_of(shell("cd '%s/lib/icot' && find . -name '*.so*' -printf '%%f\\n'", folder))) do
    temporary.write(root .. '/decoys/' .. name, '')
  end
  for _, name in ipairs { 'argparse', 'cjson', 'lfs', 'posix', 'icot/cli', 'icot/init', 'datasets/multiplication' } do
    temporary.write(('%s/decoys/%s.lua'):format(root, name), "error 'a decoy was loaded'")
  end
end

local environment = {
  'LD_LIBRARY_PATH=/decoys', 'LUA_PATH=/decoys/?.lua', 'LUA_CPATH=/decoys/?.so', 'OMP_NUM_THREADS=2',
  'LD_DEBUG=libs', 'LD_DEBUG_OUTPUT=/tmp/loaded',
}

local function in_root(place, command)
  return shell("tests/bundle/in_root '%s' '%s' '%s' %s", root, folder, place, command)
end

-- Calls icot through the link /bin/icot; its files go to /tmp.
local function icot(arguments, place)
  place = place or PLACE
  os.remove(root .. '/bin/icot')
  assert(lfs.link(('..%s/bin/icot'):format(place), root .. '/bin/icot', true))
  return in_root(place, ('/bin/env -i %s /bin/icot %s'):format(table.concat(environment, ' '), arguments))
end

local function read_run(name)
  return json.decode(shell("%s tests/notebooks/dump_run.py '%s/tmp/%s'", python.program, root, name))
end

local CUDA = 'lib/icot/libicot_cuda.so'

-- Whether a path of the bare root is glibc's or the bundle's.
local function is_expected(path)
  local from = path:gsub('^' .. OTHER_PLACE, PLACE):sub(1, #PLACE + 1)
  return from == PLACE .. '/' or GLIBC[path:match('([^/]+)%.so[^/]*$')] ~= nil
end

-- ---- The checks --------------------------------------------------------------------------------

describe('a bundle', function()
  setup(function()
    local work = temporary.folder()
    root = work .. '/root'
    shell("mkdir '%s/unpacked' && tar -xzf '%s' -C '%s/unpacked'", work, tarball, work)
    folder = ('%s/unpacked/%s'):format(work, tarball:match('([^/]+)%.tar%.gz$'))
    shell("tests/bundle/make_root '%s'", root)
    temporary.write(root .. '/recipe.lua', temporary.read('tests/bundle/recipe.lua'))
    put_decoys()
    can_enter = program.shell('unshare --mount $([ "$(id -u)" = 0 ] || echo --map-root-user) chroot / true').code == 0
  end)

  teardown(temporary.clean)

  local function it_in_root(what, check)
    it(what, function()
      if not can_enter then return pending('neither root nor a user namespace to be had') end
      check()
    end)
  end

  it('is small enough to be sent around', function()
    assert.is_true(lfs.attributes(tarball, 'size') <= MOST_BYTES)
  end)

  it('is the same, byte for byte, when it is built once more', function()
    shell("cmp '%s' '%s'", tarball, made_again)
  end)

  it('has all Lua files, recipes and notebooks', function()
    for place, source in pairs { ['lua/icot'] = 'lua/icot', recipes = 'recipes', datasets = 'datasets' } do
      assert.equal('', shell("diff -r '%s' '%s/share/icot/%s'", source, folder, place))
    end
    assert.equal(temporary.read('README.md'), temporary.read(folder .. '/README.md'))
  end)

  it('says from which package each library is, and how it is licensed', function()
    local licences = folder .. '/share/icot/licences/'
    local index = temporary.read(licences .. 'index.txt')
    for _, place in ipairs(lines_of(shell("cd '%s' && find lib/icot/libs lib/icot/lua -type f", folder))) do
      if not place:find('libhdf5_without_s3.so', 1, true) then
        local package = index:match(place:gsub('%p', '%%%0') .. '\t(%S+) %S')
        assert.is_string(package, place)
        assert.is_true(#temporary.read(licences .. package) > 0)
      end
    end
  end)

  it_in_root('has each library that any file of it needs', function()
    local files = lines_of(shell("cd '%s' && find lib bin -type f", folder))
    assert.is_true(#files > 10)
    for _, file in ipairs(files) do
      if file == CUDA then goto continue end -- its libraries are those of the card's machine
      local list = in_root(PLACE, ("/lib64/ld-linux-x86-64.so.2 --list '%s/%s'"):format(PLACE, file))
      for name, path in list:gmatch('(%S+) => ([^\n]+) %(0x%x+%)') do
        assert.is_true(is_expected(path), ('%s: %s is %s'):format(file, name, path))
      end
      assert.is_nil(list:match('[^\n]*not found'))
      ::continue::
    end
  end)

  it('needs of CUDA what multiplies matrices, if it was built for it', function()
    if not lfs.attributes(folder .. '/' .. CUDA) then return pending('built without CUDA') end
    local needed = lines_of(shell("readelf -d '%s/%s' | sed -n 's/.*(NEEDED).*\\[\\(.*\\)\\]/\\1/p'", folder, CUDA))
    for _, name in ipairs(needed) do
      local is_known = GLIBC[name:match('^(.-)%.so')] or name:match('^libcublasLt%.so')
        or lfs.attributes(folder .. '/lib/icot/libs/' .. name)
      assert.is_truthy(is_known, name)
    end
    assert.is_true(#needed > 0)
  end)

  it_in_root('tells versions', function()
    assert.matches('OpenBLAS .*USE_OPENMP', icot '--version')
  end)

  it_in_root('trains, evaluates and probes', function()
    icot '/recipe.lua --out /tmp/run.h5'
    assert.matches('\nexamples +20 of test\n', icot 'eval /tmp/run.h5')
    assert.matches('product', icot 'probe /tmp/run.h5 --examples 20')
    local run = read_run('run.h5')
    assert.equal('finished', run.attributes.end_state)
    assert.equal(60, run.tables.train.rows[#run.tables.train.rows][1])
  end)

  it_in_root('trains in bf16 where the CPU can', function()
    if not shell('cat /proc/cpuinfo'):find('avx512_bf16') then return pending('a CPU without AVX512_BF16') end
    icot '/recipe.lua --out /tmp/bf16.h5'
    assert.equal('bf16', read_run('bf16.h5').attributes.precision)
  end)

  it_in_root('runs a study in processes', function()
    icot(("study '%s/share/icot/recipes/quickstart.lua' --jobs 2 --out /tmp/study.h5 --set train.steps=4 "
      .. '--set evaluate.examples=4 --set train.evaluate_every=4'):format(PLACE))
    assert.equal(3, #read_run('study.h5').tables.summary.rows)
  end)

  it_in_root('may be moved', function()
    assert.matches('%d', icot('data multiplication --count 1', OTHER_PLACE))
  end)

  it_in_root('has loaded nothing from outside but glibc', function()
    local loaded = lines_of(shell("sed -n 's/.*calling init: //p' '%s'/tmp/loaded.* | sort -u", root))
    local count = 0
    for _, path in ipairs(loaded) do
      assert.is_true(is_expected(path), path)
      count = count + (path:find('/lib/icot/', 1, true) and 1 or 0)
    end
    assert.is_true(count > 10)
  end)
end)
