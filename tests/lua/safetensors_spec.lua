-- safetensors files: what is read is what was stored, and whatever is wrong with a file is told in one line.
local bit = require 'bit'
local expect = require 'tests.lua.support.expect'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local json = require 'icot.base.json'
local safetensors = require 'icot.tensor.safetensors'
local temporary = require 'tests.lua.support.temporary'
local tensor = require 'icot.tensor'

local path

-- `value` in `count` bytes, the least first.
local function little_endian(value, count)
  local bytes = {}
  for i = 1, count do
    bytes[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(bytes)
end

local function write(contents)
  local file = assert(io.open(path, 'wb'))
  file:write(contents)
  file:close()
end

-- Writes a file of this header (a text, or what it says) and these bytes of data.
local function write_file(header, data)
  local text = type(header) == 'table' and json.encode(header) or header
  write(little_endian(#text, 8) .. text .. (data or ''))
end

local function entry(dtype, shape, first, stop)
  local sizes = '[' .. table.concat(shape, ',') .. ']'
  return ('{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}'):format(dtype, sizes, first, stop)
end

local function header_of(entries)
  local list = {}
  for i = 1, #entries, 2 do list[#list + 1] = ('"%s":%s'):format(entries[i], entries[i + 1]) end
  return '{' .. table.concat(list, ',') .. '}'
end

-- Opens the file and reads all its tensors; nothing stays in memory, whether that works or not.
local function read_all()
  local before = core.memory().live
  local ok, problem = pcall(function()
    for _, each in pairs(safetensors.load_file(path)) do each:free() end
  end)
  assert.equal(before, core.memory().live)
  if ok then return true end
  assert(errors.is_user_error(problem), tostring(problem))
  assert(not problem.message:find('\n'), problem.message)
  assert(problem.message:find(path, 1, true), problem.message)
  return false, problem.message
end

local function refused(...)
  local fine, message = read_all()
  assert(not fine, 'was accepted')
  expect.mentions(message, 'safetensors file ' .. path .. ': ', ...)
end

before_each(function() path = temporary.folder() .. '/x.safetensors' end)
after_each(temporary.clean)

describe('a safetensors file', function()
  it('gives back what was saved', function()
    local saved = {
      ['h.0.weight'] = tensor.new { { 1, -2, 0.1 }, { 4, 1e-40, -1 / 0 } }, scalar = tensor.new(3.5),
      ids = tensor.new({ -2 ^ 31, 7 }, 'int32'), none = tensor.zeros { 0, 3 }, ['"\\\n é'] = tensor.new { 1 },
    }
    safetensors.save_file(saved, path)
    local loaded, count = safetensors.load_file(path), 0
    for name, each in pairs(loaded) do
      assert.same(saved[name]:shape(), each:shape())
      assert.equal(saved[name]:dtype(), each:dtype())
      assert.same(saved[name]:totable(), each:totable())
      each:free()
      saved[name]:free()
      count = count + 1
    end
    assert.equal(5, count)
  end)

  it('tells what it holds, and reads into views', function()
    write_file(header_of { 'b', entry('I64', { 2 }, 24, 40), 'a', entry('F32', { 2, 3 }, 0, 24),
                           '__metadata__', '{"format":"pt"}' },
               ('\0\0\128\63'):rep(5) .. '\0\0\0\64' .. little_endian(5, 8) .. ('\255'):rep(8))
    local file = safetensors.open(path)
    assert.same({ 'a', 'b' }, file:names())
    assert.same({ dtype = 'F32', shape = { 2, 3 } }, file:info('a'))
    local ids, into = file:read('b'), tensor.zeros { 3, 2 }
    assert.same({ 5, -1 }, ids:totable())
    local view = into:transpose(0, 1)
    file:read_into('a', view)
    assert.same({ { 1, 1 }, { 1, 1 }, { 1, 2 } }, into:totable())
    expect.mentions(expect.user_error(file.read_into, file, 'a', into), "'a': its shape is (2,3), expected (3,2)")
    expect.mentions(expect.user_error(file.info, file, 'c'), "tensor 'c': it is not in the file")
    local floats = tensor.zeros { 2 }
    expect.mentions(expect.user_error(file.read_into, file, 'b', floats), 'I64 cannot be read into a tensor of float32')
    file:close()
    file:close()
    expect.mentions(expect.user_error(file.read_into, file, 'a', view), 'it is closed')
    for _, each in ipairs { ids, floats } do each:free() end
  end)

  it('may be empty', function()
    write_file('{}')
    assert.same({}, safetensors.load_file(path))
    safetensors.save_file({}, path)
    assert.same({}, safetensors.load_file(path))
  end)

  it('may hold dtypes that cannot be read, as long as nobody asks for them', function()
    write_file(header_of { 'mask', entry('BOOL', { 4 }, 0, 4), 'x', entry('F32', {}, 4, 8) }, '\1\0\1\0\0\0\128\63')
    local file = safetensors.open(path)
    assert.equal(1, file:read('x'):item())
    expect.mentions(expect.user_error(file.read, file, 'mask'), "tensor 'mask': dtype BOOL cannot be read")
    file:close()
  end)
end)

describe('widening', function()
  -- All 2^16 patterns of a dtype against its definition: (-1)^s · 2^(e-bias) · (1 + f/2^bits), computed in float64.
  -- Lua reads every NaN as a number, whatever bits it had.
  local function check_all(dtype, exponent_bits, bits)
    local patterns = {}
    for i = 0, 65535 do patterns[i + 1] = little_endian(i, 2) end
    write_file(header_of { 'all', entry(dtype, { 65536 }, 0, 131072) }, table.concat(patterns))
    local all = safetensors.load_file(path).all
    local values = all:read()
    local highest, bias = 2 ^ exponent_bits - 1, 2 ^ (exponent_bits - 1) - 1
    for i = 0, 65535 do
      local sign = i >= 32768 and -1 or 1
      local exponent, fraction = math.floor(i % 32768 / 2 ^ bits), i % 2 ^ bits
      local expected
      if exponent == highest then
        expected = fraction == 0 and sign / 0 or 0 / 0
      elseif exponent == 0 then
        expected = sign * 2 ^ (1 - bias) * fraction / 2 ^ bits
      else
        expected = sign * 2 ^ (exponent - bias) * (1 + fraction / 2 ^ bits)
      end
      local got = tonumber(values[i])
      if expected ~= expected then
        assert(got ~= got, i)
      else
        assert(got == expected and 1 / got == 1 / expected, i) -- 1/0 and 1/-0 differ
      end
    end
    all:free()
  end

  it('makes one NaN of all that float32 has', function()
    local nans = { '\255\255\255\255', '\1\0\128\255', '\0\0\249\255', '\1\0\128\127', '\0\0\192\255' }
    write_file(header_of { 'x', entry('F32', { 6 }, 0, 24) }, table.concat(nans) .. '\0\0\128\255')
    local x = safetensors.load_file(path).x
    local values = x:totable()
    for i = 1, 5 do assert(type(values[i]) == 'number' and values[i] ~= values[i], i) end
    assert.equal(-1 / 0, values[6])
    x:free()
  end)

  it('is exact for every float16', function() check_all('F16', 5, 10) end)
  it('is exact for every bfloat16', function() check_all('BF16', 8, 7) end)
end)

describe('a safetensors file is refused', function()
  local function small_file()
    safetensors.save_file({ a = tensor.new { 1, 2 }, ['b\n'] = tensor.new({ { 3 } }, 'int32') }, path)
    return temporary.read(path)
  end

  it('when it is no plain file', function()
    expect.mentions(expect.user_error(safetensors.open, '/none/x'), '/none/x: cannot open it: No such file')
    expect.mentions(expect.user_error(safetensors.open, '/'), 'cannot open it: it is a folder')
    expect.mentions(expect.user_error(safetensors.open, '/dev/zero'), 'cannot open it: it is not a plain file')
    os.execute(("mkfifo '%s'"):format(path))
    expect.mentions(expect.user_error(safetensors.open, path), 'cannot open it: it is not a plain file')
  end)

  it('when it was cut short, wherever', function()
    local whole = small_file()
    for length = 0, #whole - 1 do
      write(whole:sub(1, length))
      refused()
    end
    write(whole .. '\0')
    refused('the last 1 bytes belong to no tensor')
  end)

  it('or still loads, when any one bit is flipped', function()
    local whole = small_file()
    local loaded = 0
    for at = 1, #whole do
      for position = 0, 7 do
        local flipped = string.char(bit.bxor(whole:byte(at), 2 ^ position))
        write(whole:sub(1, at - 1) .. flipped .. whole:sub(at + 1))
        if read_all() then loaded = loaded + 1 end
      end
    end
    assert(loaded >= 8 * 12, loaded) -- the numbers themselves, names, metadata
    assert(loaded < 8 * #whole / 2, loaded)
  end)

  it('when the header is a bomb', function()
    write(('\255'):rep(8) .. '{}')
    refused('the header should have 18446744073709551615 bytes, but 2 are left')
    write(('\255'):rep(7) .. '\127{}')
    refused('the header should have 9223372036854775807 bytes')
    local file = assert(io.open(path, 'wb')) -- a file that is long enough for it, most of it a hole
    file:write(little_endian(2 ^ 25, 8), '{')
    file:seek('set', 2 ^ 26)
    file:write('}')
    file:close()
    refused('the header has 33554432 bytes, more than the 16777216 that are read')
    write_file('{"a":' .. ('['):rep(1e6) .. (']'):rep(1e6) .. '}')
    refused('not valid JSON: Found too many nested data structures')
    write_file(('{"a":'):rep(1e6))
    refused('not valid JSON: Found too many nested data structures')
    write_file('{"a":[' .. ('{},'):rep(3e5) .. '{}]}')
    refused("tensor 'a': unknown dtype nil")
    write_file(header_of { 'a', entry('F32', { ('9,'):rep(1e5) .. '9' }, 0, 4) }, '\0\0\0\0')
    refused("tensor 'a': it has 4 bytes, but F32 of 100001 dimensions needs inf")
  end)

  it('not when it has very many tensors, unless one of them is wrong', function()
    local entries = {}
    for i = 1, 1e5 do
      entries[2 * i - 1], entries[2 * i] = 'tensor ' .. i, entry('F16', { 1 }, 2 * i - 2, 2 * i)
    end
    write_file(header_of(entries), ('\0'):rep(2e5))
    local file = safetensors.open(path)
    assert.equal(1e5, #file:names())
    file:close()
    entries[2e5] = entry('F16', { 1 }, 0, 2)
    write_file(header_of(entries), ('\0'):rep(2e5))
    refused('overlap')
  end)

  it('when its JSON is broken', function()
    for header, part in pairs {
      [''] = 'the header does not begin with {', ['[]'] = 'the header does not begin with {',
      [' {}'] = 'the header does not begin with {', ['{'] = 'not valid JSON', ['{}{}'] = 'not valid JSON',
      ['{}\0{}'] = 'there is a zero byte in it', ['{"a":\255}'] = 'byte 5 of the header is not UTF-8',
      ['{"\237\160\128":1}'] = 'byte 2 of the header is not UTF-8', ["{'a':1}"] = 'not valid JSON',
      ['{"a":NaN}'] = 'not valid JSON', ['{"a":0x10}'] = 'not valid JSON',
      ['{"a":1,"a":1}'] = "the header has 'a' twice", ['{"a":1,"\\u0061":1}'] = "the header has 'a' twice",
      ['{"__metadata__":[1]}'] = '__metadata__ is not a table of strings',
      ['{"__metadata__":{"a":1}}'] = '__metadata__ is not a table of strings',
      ['{"__metadata__":"a"}'] = '__metadata__ is not a table of strings',
    } do
      write_file(header)
      refused(part)
    end
  end)

  it('when the entry of a tensor is malformed', function()
    for given, part in pairs {
      ['1'] = 'its entry is 1, expected a table', ['null'] = 'its entry is', ['{}'] = 'unknown dtype nil',
      [entry('F31', { 1 }, 0, 4)] = "unknown dtype 'F31'", [entry('f32', { 1 }, 0, 4)] = "unknown dtype 'f32'",
      [entry('F64', { 1 }, 0, 4)] = 'it has 4 bytes, but F64 (1) needs 8',
      [entry('F32', { 1 }, 0, 8)] = 'its bytes 0 to 8 reach beyond the 4 of the file; is it complete?',
      [entry('F32', { 1 }, 4, 0)] = 'its bytes 4 to 0 reach beyond',
      [entry('F32', { 2 }, 0, 4)] = 'it has 4 bytes, but F32 (2) needs 8',
      [entry('F32', { -1 }, 0, 4)] = 'its shape is not a list of sizes',
      [entry('F32', { 0.25 }, 0, 4)] = 'its shape is not a list of sizes',
      [entry('F32', { '"1"' }, 0, 4)] = 'its shape is not a list of sizes',
      [entry('F32', { 'null' }, 0, 4)] = 'its shape is not a list of sizes',
      [entry('F32', { 4294967296, 4294967297 }, 0, 4)] = 'it has 4 bytes, but F32 (4294967296,4294967297) needs',
      [entry('F32', { 9007199254740993 }, 0, 4)] = 'its shape is not a list of sizes',
      [entry('F32', { '1e999', 0 }, 0, 4)] = 'its shape is not a list of sizes',
      ['{"dtype":"F32","shape":{"a":1},"data_offsets":[0,4]}'] = 'its shape is not a list of sizes',
      ['{"dtype":"F32","shape":[1],"data_offsets":[0]}'] = 'its data_offsets are not a pair',
      ['{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}'] = 'its data_offsets are not a pair',
      ['{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}'] = 'its data_offsets are not a pair',
      ['{"dtype":"F32","shape":[1],"data_offsets":[0.5,4.5]}'] = 'its data_offsets are not a pair',
      ['{"dtype":"F32","shape":[1]}'] = 'its data_offsets are not a pair',
      ['{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}'] = "the header has 'dtype' twice",
    } do
      write_file(header_of { 'x', given }, '\0\0\0\0')
      refused(part)
    end
  end)

  it('when tensors overlap, or leave holes', function()
    write_file(header_of { 'a', entry('F32', { 2 }, 0, 8), 'b', entry('F32', { 2 }, 4, 12) }, ('\0'):rep(12))
    refused("the bytes of tensors 'a' and 'b' overlap")
    write_file(header_of { 'a', entry('F32', { 1 }, 0, 4), 'b', entry('F32', { 1 }, 0, 4) }, ('\0'):rep(4))
    refused('overlap')
    write_file(header_of { 'a', entry('F32', { 1 }, 0, 4), 'b', entry('F32', { 1 }, 8, 12) }, ('\0'):rep(12))
    refused("tensor 'b': the 4 bytes before it belong to no tensor")
    write_file(header_of { 'a', entry('F32', { 1 }, 4, 8) }, ('\0'):rep(8))
    refused("tensor 'a': the 4 bytes before it belong to no tensor")
    write_file('{}', '\0')
    refused('the last 1 bytes belong to no tensor')
  end)

  it('when a tensor is nothing that can be held', function()
    write_file(header_of { 'a', entry('I64', { 2 }, 0, 16) }, little_endian(0, 8) .. little_endian(2 ^ 31, 8))
    refused("tensor 'a': element 1 is 2147483648, which does not fit in int32")
    write_file(header_of { 'a', entry('F32', { 1, 1, 1, 1, 1, 1, 1 }, 0, 4) }, ('\0'):rep(4))
    refused("tensor 'a': it has 7 dimensions, a tensor can have 6")
    write_file(header_of { 'a', entry('F64', { 1 }, 0, 8) }, ('\0'):rep(8))
    refused("tensor 'a': dtype F64 cannot be read, only F32, F16, BF16, I32 and I64")
  end)

  it('when it is cut short while it is open', function()
    write_file(header_of { 'a', entry('F32', { 4096 }, 0, 16384) }, ('\0'):rep(16384))
    local file = safetensors.open(path)
    local out = assert(io.open(path, 'wb'))
    out:close()
    expect.mentions(expect.user_error(file.read, file, 'a'), 'it was cut short while it was being read')
    file:close()
  end)
end)
