--- Files and folders: what there is, reading, making and removing it, and whether results may go there, which is asked
--- before a training starts, not after it has run.
local errors = require 'icot.base.errors'
local lfs = require 'lfs'

local files = {}

local PIECE = 2 ^ 16 -- bytes read at a time

--- What a path names.
---@param path string
---@return 'file'|'directory'|nil|string kind nil: nothing is there
function files.kind(path)
  return (lfs.attributes(path, 'mode'))
end

--- Whether a path names a link that leads nowhere.
---@param path string
---@return boolean
function files.is_dangling(path)
  return files.kind(path) == nil and lfs.symlinkattributes(path, 'mode') == 'link'
end

--- Whether two paths name one and the same file or folder.
---@param a string
---@param b string
---@return boolean
function files.is_same(a, b)
  local one, other = lfs.attributes(a), lfs.attributes(b)
  return one ~= nil and other ~= nil and one.dev == other.dev and one.ino == other.ino
end

--- The folder that a path lies in.
---@param path string
---@return string folder
function files.folder_of(path)
  local folder = path:match('^(.*)/[^/]*$')
  if folder == '' then return '/' end
  return folder or '.'
end

--- A folder by a path that ends in its name, as `.` and `..` do not.
---@param folder string
---@return string path
function files.by_name(folder)
  local above, last = folder:match('^(.*)/([^/]*)$')
  last = last or folder
  if last ~= '.' and last ~= '..' then return folder end
  local named = above and files.by_name(above) or lfs.currentdir()
  return last == '.' and named or files.folder_of(named)
end

--- Reads a file piece by piece: to read many bytes at once, Lua would first ask for a block of so many.
---@param path string
---@param take fun(piece: string): boolean? true: that is enough
---raises an error: there is no such file, it cannot be read.
function files.in_pieces(path, take)
  local file, message = io.open(path, 'rb')
  if not file then errors.raise('%s: cannot open it: %s', path, errors.reason(message)) end
  local piece, problem
  repeat piece, problem = file:read(PIECE) until not piece or take(piece)
  file:close()
  if problem then errors.raise('%s: cannot read it: %s', path, problem) end
end

--- The contents of a file that is small enough to be held as a string.
---@param path string
---@param most integer bytes
---@return string
---raises an error: as `in_pieces`; it has more bytes.
function files.read(path, most)
  local pieces, bytes = {}, 0
  files.in_pieces(path, function(piece)
    pieces[#pieces + 1], bytes = piece, bytes + #piece
    return bytes > most
  end)
  if bytes > most then errors.raise('%s: it has more than %d bytes', path, most) end
  return table.concat(pieces)
end

--- What lies in a folder.
---@param folder string
---@return string[] names in order
function files.names_in(folder)
  local names = {}
  for name in lfs.dir(folder) do
    if name ~= '.' and name ~= '..' then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Makes a folder and those above it.
---@param path string
---raises an error: a file is in the way, or the folder cannot be made.
function files.make_folder(path)
  local kind = files.kind(path)
  if kind == 'directory' then return end
  if kind then errors.raise('%s: is a file, expected a folder', path) end
  local above = files.folder_of(path)
  if above ~= path then files.make_folder(above) end
  local made, message = lfs.mkdir(path)
  if not made and files.kind(path) ~= 'directory' then
    errors.raise('%s: cannot make this folder: %s', path, message)
  end
end

--- Removes a file, or a folder with all that is in it; what cannot be removed stays.
---@param path string need not be there; a link is removed, not what it leads to
function files.remove_tree(path)
  if lfs.symlinkattributes(path, 'mode') == 'directory' then
    for _, name in ipairs(files.names_in(path)) do files.remove_tree(path .. '/' .. name) end
  end
  os.remove(path)
end

--- Removes what a process that was killed while it wrote a file has left beside it: PATH.partial-….
---@param path string of the file
function files.remove_partials(path)
  local folder, name = files.folder_of(path), path:match('[^/]*$')
  if files.kind(folder) ~= 'directory' then return end
  for _, found in ipairs(files.names_in(folder)) do
    if found:sub(1, #name) == name and found:sub(#name + 1):find('^%.partial%-%d+%-%d+$') then
      os.remove(folder .. '/' .. found)
    end
  end
end

--- Makes sure that files can be made in a folder, by making one.
---@param folder string made if it is not there
function files.require_writable(folder)
  files.make_folder(folder)
  local probe = ('%s/.icot-%d-%d'):format(folder, os.time(), math.random(0, 2 ^ 30))
  local file, message = io.open(probe, 'w')
  if not file then errors.raise('%s: cannot write there: %s', folder, errors.reason(message)) end
  file:close()
  os.remove(probe)
end

--- What can be done about a path that is taken, for those commands that have these options.
files.EXISTS_ADVICE = '; --force overwrites it, --out chooses another path'

--- Refuses a path that is taken.
---@param path string
---@param overwrite boolean a file that is there may be replaced
---@param advice? string what can be done, if it is more than EXISTS_ADVICE
function files.require_free(path, overwrite, advice)
  local kind = files.kind(path)
  if kind == 'directory' then errors.raise('%s: is a folder, expected the path of a file', path) end
  if kind and not overwrite then errors.raise('%s: already exists%s', path, advice or files.EXISTS_ADVICE) end
end

return files
