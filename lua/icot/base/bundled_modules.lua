--- Modules for Lua in C that an installation brings along (`make bundle`), in PREFIX/lib/icot/lua.
---
--- `require` looks for a module in Lua before it looks for one in C, so any that LUA_PATH names would be taken instead.
local installation = require 'icot.base.installation'

local bundled_modules = {}

-- A searcher for `require`. One file may hold several modules: posix.so has posix.fcntl.
local function searcher(pattern)
  return function(name)
    local path = package.searchpath(name, pattern) or package.searchpath(name:match('^[^.]*'), pattern)
    if not path then return nil end
    local open, problem, what = package.loadlib(path, 'luaopen_' .. name:gsub('%.', '_'))
    if not open and what == 'open' then error(problem, 0) end
    return open
  end
end

--- From now on `require` takes them before any other.
function bundled_modules.come_first()
  local prefix = installation.prefix
  if prefix then table.insert(package.loaders, 2, searcher(prefix .. '/lib/icot/lua/?.so')) end
end

return bundled_modules
