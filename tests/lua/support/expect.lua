--- What several test files look at.
local errors = require 'icot.errors'

local expect = {}

--- The message of the user error that a call must raise: one line.
---@param call function
---@return string message
function expect.user_error(call, ...)
  local ok, raised = pcall(call, ...)
  assert(not ok, 'no error was raised')
  assert(errors.is_user_error(raised), 'not a user error: ' .. tostring(raised))
  assert(not raised.message:find('\n'), 'more than one line: ' .. raised.message)
  return raised.message
end

return expect
