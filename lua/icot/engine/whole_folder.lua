--- Folders that appear whole or not at all: filled under another name, then published under their own.
local cleanup = require 'icot.base.cleanup'
local core = require 'icot.engine.core'
local files = require 'icot.base.files'

local whole_folder = {}

--- Makes a folder.
---@generic T
---@param path string
---@param work string where it is filled, on the same file system; nothing of it is left afterwards
---@param replaces boolean a folder that is there is replaced; else it is an error
---@param fill fun(work: string): T makes `work`, if it is not there, and puts files into it
---@param remove? fun(work: string) removes what is left at `work`: half a folder, or the one that was replaced;
---   default: files.remove_tree
---@return T result of `fill`
---raises what `fill` raises, and an error when the folder cannot be published; what was there stays then
function whole_folder.make(path, work, replaces, fill, remove)
  local function tidy() (remove or files.remove_tree)(work) end
  return cleanup.always(tidy, function()
    local result = fill(work)
    core.check(core.C.icot_folder_publish(work, path, replaces and 1 or 0))
    return result
  end)
end

return whole_folder
