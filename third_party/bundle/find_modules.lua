--- find_modules.lua FOLDER - the Lua modules that the files in FOLDER require and that lie elsewhere.
---
--- A line per file: its path, a tab, and its place in an installation. A name that is made while a program runs, as by
--- `require('a.' .. name)`, is not found; icot makes such names of its own modules only.
local folder = arg[1]

-- ---- Which are required ------------------------------------------------------------------------

local function required_modules()
  local files = io.popen(("find '%s' -name '*.lua'"):format(folder:gsub("'", "'\\''")))
  local names, known = {}, {}
  for path in files:lines() do
    for line in io.lines(path) do
      local name = line:match("require%s*%(?%s*['\"]([%w_.]*[%w_])['\"]")
      if name and not known[name] then
        known[name] = true
        names[#names + 1] = name
      end
    end
  end
  files:close()
  table.sort(names)
  return names
end

local function is_own(name)
  return package.searchpath(name, ('%s/?.lua;%s/?/init.lua'):format(folder, folder)) ~= nil
end

local function is_part_of_luajit(name)
  return package.loaded[name] or package.preload[name] or name:match('^table%.') or name:match('^jit%.')
end

-- ---- Where they are ----------------------------------------------------------------------------

-- As `require` searches: in Lua, in C, in C as a part of the module that its first name tells.
local function find(name)
  local path = package.searchpath(name, package.path)
  if path then return path, ('share/icot/lua/%s.lua'):format((name:gsub('%.', '/'))) end
  for _, module in ipairs { name, name:match('^[^.]+') } do
    path = package.searchpath(module, package.cpath)
    if path then return path, ('lib/icot/lua/%s.so'):format((module:gsub('%.', '/'))) end
  end
  io.stderr:write(("bundle: the Lua module '%s' is not there; install it (third_party/packages.txt)\n"):format(name))
  os.exit(1)
end

local printed = {}
for _, name in ipairs(required_modules()) do
  if not is_own(name) and not is_part_of_luajit(name) then
    local path, place = find(name)
    if not printed[place] then print(path .. '\t' .. place) end
    printed[place] = true
  end
end
