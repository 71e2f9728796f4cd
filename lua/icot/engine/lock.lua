--- Keeps two processes off the same results: a lock beside them, PATH.lock, which is free when its
--- owner is gone, though the file may stay.
local ffi = require 'ffi'
local cleanup = require 'icot.base.cleanup'
local core = require 'icot.engine.core'
local files = require 'icot.base.files'

local C, check = core.C, core.check
local lock = {}

---@class icot.Lock
---@field is_held boolean false: the file system has no locks, so nobody is kept off
local Lock = {}
Lock.__index = Lock

local handle_out, held_out = ffi.new('icot_lock *[1]'), ffi.new('int[1]')

--- Takes the lock of a run file or an index.
---@param path string
---@return icot.Lock
---raises an error that names the owner when another process has it
function lock.take(path)
  files.make_folder(files.folder_of(path))
  check(C.icot_lock_take(path .. '.lock', handle_out, held_out), 'locked',
        ', which is at work on this run; wait for it, or stop it first')
  return setmetatable({ handle = ffi.gc(handle_out[0], C.icot_lock_release), is_held = held_out[0] ~= 0 }, Lock)
end

--- Lets go of it. Doing that a second time does nothing.
function Lock:release()
  if self.handle then C.icot_lock_release(ffi.gc(self.handle, nil)) end
  self.handle = nil
end

--- Calls a function while a lock is held; it is released however that ends.
---@generic T
---@param path string
---@param body fun(lock: icot.Lock): T
---@return T ...
function lock.with(path, body)
  local held = lock.take(path)
  return cleanup.always(function() held:release() end, body, held)
end

local name_out = ffi.new('const char *[1]')

--- What the user should know about the place where a run is logged.
---@param path string of the run file
---@param held icot.Lock
---@return string? note nil: nothing
function lock.note_about(path, held)
  local folder = files.folder_of(path)
  check(C.icot_remote_file_system(folder, name_out))
  local remote = name_out[0] ~= nil and ffi.string(name_out[0])
  if remote then
    return ('%s lies on %s, where a reader may see rows that are half written; read run files after their end, or '
            .. 'give --out on a local disk'):format(folder, remote)
  elseif not held.is_held then
    return ('%s has no file locks: make sure that no second icot writes there'):format(folder)
  end
end

return lock
