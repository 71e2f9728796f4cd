--- Inputs that stand for several files: each begins with a line `=== NAME`. What comes before the first is ignored.
local parts = {}

--- The files of an input.
---@param bytes string
---@return table<string, string> contents by their names; of those that are there twice the last
function parts.split(bytes)
  local found, position = {}, 1
  local first, last, name = bytes:find('^=== ([^\n]*)\n')
  while true do
    if not first then first, last, name = bytes:find('\n=== ([^\n]*)\n', position) end
    if not first then return found end
    local next_one = bytes:find('\n=== [^\n]*\n', last)
    found[name] = bytes:sub(last + 1, (next_one or #bytes + 1) - 1)
    if not next_one then return found end
    first, position = nil, next_one
  end
end

--- Writes a file.
---@param path string
---@param contents string
function parts.write(path, contents)
  local file = assert(io.open(path, 'wb'))
  assert(file:write(contents))
  file:close()
end

--- Makes a folder hold those files of an input that have one of the names, and no others of these.
---@param folder string
---@param found table<string, string> from `split`
---@param names string[]
function parts.put(folder, found, names)
  for _, name in ipairs(names) do
    local path = folder .. '/' .. name
    if found[name] then parts.write(path, found[name]) else os.remove(path) end
  end
end

return parts
