--- What several specs expect in the same words: user errors, and what they mention.
local errors = require 'icot.base.errors'

local expect = {}

--- The message of the user error that a call raises; it must raise one, of one line.
---@param call function
---@param ... any its arguments
---@return string
function expect.user_error(call, ...)
  local ok, problem = pcall(call, ...)
  assert(not ok, 'expected an error, there was none')
  assert(errors.is_user_error(problem), 'not a user error: ' .. tostring(problem))
  assert(not problem.message:find('\n'), 'more than one line: ' .. problem.message)
  return problem.message
end

--- Expects a text to contain all these parts.
---@param text string
---@param ... string
function expect.mentions(text, ...)
  for _, part in ipairs { ... } do
    assert(text:find(part, 1, true), ("'%s' doesn't mention '%s'"):format(text, part))
  end
end

return expect
