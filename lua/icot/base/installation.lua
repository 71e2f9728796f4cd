--- Where the parts of icot lie, and what else the program that was started knows.
---
--- The program icot (lua/launcher.c) puts a table of its own in the place of this one before anything requires it. This
--- is what a script finds that was started in another way: library and header are told by the environment
--- (ICOT_LIBRARY, ICOT_HEADER), or found from the place of this file (…/share/icot/lua/icot/base/installation.lua).
local own = debug.getinfo(1, 'S').source:match('^@(.*)/lua/icot/base/installation%.lua$')
local share = own or '.'

---@class icot.Installation
---@field prefix? string the folder above bin, lib and share; nil: the program icot is not at work
---@field library string path of libicot.so
---@field header string path of its declarations
local installation = {
  library = os.getenv('ICOT_LIBRARY') or share .. '/../../lib/icot/libicot.so',
  header = os.getenv('ICOT_HEADER') or share .. '/icot.ffi.h',
}

--- Columns of the terminal that a file descriptor, 0 to 2, stands for.
---@return integer? columns nil: it goes to a file or pipe; or it is not known, as here
function installation.terminal_columns()
  return nil
end

return installation
