--- Errors that the user can do something about, told apart from bugs in icot itself.
---
--- A user error is one line: what and where, and what to do. The command line prints it as it is; any
--- other error is a bug, and shown with where it was raised.
local errors = {}

---@class icot.UserError
---@field message string one line for the user
local UserError = {}
UserError.__index = UserError
UserError.__tostring = function(self) return self.message end

--- Raises a user error.
---@param format string as for string.format
---@param ... any
function errors.raise(format, ...)
  local message = select('#', ...) > 0 and format:format(...) or format
  error(setmetatable({ message = message }, UserError), 0)
end

--- Whether an error value was raised by `errors.raise`.
---@param value any
---@return boolean
function errors.is_user_error(value)
  return getmetatable(value) == UserError
end

--- One line about anything that was raised: what a user error says; of a bug, its first line.
---@param raised any
---@return string
function errors.describe(raised)
  local message = tostring(raised):gsub('\n.*', '')
  if errors.is_user_error(raised) then return message end
  return message .. ' (this looks like a bug in icot; --traceback shows more)'
end

return errors
