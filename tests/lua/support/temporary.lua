--- Folders for one test, gone after it.
local lfs = require 'lfs'

local temporary = {}

local folders = {}

--- Makes an empty folder.
---@return string path
function temporary.folder()
  local path = os.tmpname()
  os.remove(path)
  assert(lfs.mkdir(path))
  folders[#folders + 1] = path
  return path
end

--- Writes a file, with the folders on the way.
---@param path string
---@param text string
---@return string path
function temporary.write(path, text)
  os.execute(("mkdir -p '%s'"):format(path:match('^(.*)/')))
  local file = assert(io.open(path, 'wb'))
  assert(file:write(text))
  file:close()
  return path
end

--- Makes a file with these contents in a folder of its own.
---@param contents string
---@return string path
function temporary.file(contents)
  return temporary.write(temporary.folder() .. '/file', contents)
end

--- Reads a whole file.
---@param path string
---@return string? text nil: there is no such file
function temporary.read(path)
  local file = io.open(path, 'rb')
  if not file then return nil end
  local text = file:read('*a')
  file:close()
  return text
end

--- Reads a whole file that must be there.
---@param path string
---@return string text
function temporary.contents(path)
  return assert(temporary.read(path), path .. ': there is no such file')
end

--- Removes all folders; to be called after each test.
function temporary.clean()
  for _, path in ipairs(folders) do os.execute(("chmod -R u+w '%s' && rm -rf '%s'"):format(path, path)) end
  folders = {}
end

return temporary
