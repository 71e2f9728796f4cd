--- The walls of the house: who may know whom, in lua/icot and in core, as README's "Architecture" has it.
local lfs = require 'lfs'
local temporary = require 'tests.lua.support.temporary'

-- Each may know itself and those before it.
local lua_rooms = {
  'base', 'engine', 'tensor', 'nn', 'text', 'schedule', 'gpt2', 'model', 'data', 'results', 'recipe', 'saved',
  'training', 'frontier', 'probe', 'study', 'cli',
}

-- Whom each may know beside itself, and beside icot.h, in which all that is public is declared.
local core_rooms = {
  base = {}, tensor = { 'base' }, text = { 'base' }, io = { 'base' },
  backend = { 'base', 'tensor/device.h' }, autograd = { 'base', 'tensor', 'backend' },
  engine = { 'base', 'tensor', 'backend', 'autograd' },
}

local function files_in(folder, ending, found)
  found = found or {}
  for name in lfs.dir(folder) do
    local path = folder .. '/' .. name
    if not name:find('^%.') and lfs.attributes(path, 'mode') == 'directory' then files_in(path, ending, found) end
    if name:find(ending) then found[#found + 1] = path end
  end
  return found
end

-- The rooms of lua/icot that a file requires.
local function rooms_required(path)
  local rooms = {}
  for room in temporary.contents(path):gmatch("require%(?%s*['\"]icot%.([%w_]+)") do rooms[#rooms + 1] = room end
  return rooms
end

-- The headers of other rooms that a file of core includes, as they are written.
local function headers_included(path)
  local headers = {}
  for header in temporary.contents(path):gmatch('#include "([^"]+)"') do
    if header:find('/', 1, true) then headers[#headers + 1] = header end
  end
  return headers
end

describe('lua/icot', function()
  local rank = {}
  for i, room in ipairs(lua_rooms) do rank[room] = i end

  it('has these rooms, and they stand in the picture of the house', function()
    local readme = temporary.contents('README.md')
    for name in lfs.dir('lua/icot') do
      if name:find('^%a') and name ~= 'init.lua' then assert.is_truthy(rank[name], name .. ' is no room') end
    end
    for _, room in ipairs(lua_rooms) do assert.matches('\n      ' .. room .. '/ +%l', readme) end
  end)

  it('knows only what is below', function()
    local looked_at = 0
    for _, path in ipairs(files_in('lua/icot', '%.lua$')) do
      local own = path:match('^lua/icot/(%w+)/')
      for _, room in ipairs(own and rooms_required(path) or {}) do
        looked_at = looked_at + 1
        assert(rank[room] and rank[room] <= rank[own], ('%s knows %s, which is above'):format(path, room))
      end
    end
    assert(looked_at > 300, looked_at)
  end)

  it('opens the core in one file', function()
    for _, path in ipairs(files_in('lua', '%.lua$')) do
      local opens = temporary.contents(path):find('ffi%.cdef') or temporary.contents(path):find('ffi%.load')
      assert.equal(path == 'lua/icot/engine/core.lua', opens ~= nil, path)
    end
  end)
end)

describe('core', function()
  -- Whether a file of `room` may include a header.
  local function may_include(room, header)
    if header:match('^[^/]+') == room then return true end
    for _, allowed in ipairs(core_rooms[room]) do
      if header == allowed or header:find(allowed .. '/', 1, true) == 1 then return true end
    end
    return false
  end

  it('knows only whom it may know', function()
    local looked_at = 0
    for _, path in ipairs(files_in('core', '%.[ch]u?$')) do
      local room = path:match('^core/(%w+)/')
      for _, header in ipairs(room and headers_included(path) or {}) do
        looked_at = looked_at + 1
        assert(may_include(room, header), ('%s includes %s'):format(path, header))
      end
    end
    assert(looked_at > 300, looked_at)
  end)
end)
