--- Errors that the user can do something about, told apart from bugs in icot itself.
---
--- A user error is one line: what and where, and what to do. The command line prints it as it is; any
--- other error is a bug, and shown with where it was raised.
local errors = {}

---@class icot.UserError
---@field message string one line for the user
---@field kind icot.ErrorKind? what it is about, where a caller may know what to do

---@alias icot.ErrorKind
---| 'no_memory'|'exists'|'locked' from the core
---| 'schedule_falls'|'no_checkpoint'|'no_file'
local UserError = {}
UserError.__index = UserError
UserError.__tostring = function(self) return self.message end

--- A text as a message may show it: on one line, and without characters that control a terminal.
---@param text string
---@return string
function errors.one_line(text)
  return (text:gsub('%c', '?'):gsub('\194[\128-\159]', '?')) -- U+0080 to U+009F are controls too
end

--- The same, and short: what is longer is cut between two characters, and ends in `…`.
---@param text string
---@param most integer bytes
---@return string
function errors.shortened(text, most)
  text = errors.one_line(text)
  if #text <= most then return text end
  local last = most - #'…'
  while last > 0 and text:find('^[\128-\191]', last + 1) do last = last - 1 end -- in the middle of one
  return text:sub(1, last) .. '…'
end

--- What a function of the user's raised, on one line.
---@param raised any
---@return string
function errors.of_user_code(raised)
  return (tostring(raised):gsub('\n', ' '))
end

--- What went wrong, of what io.open says, which is 'PATH: WHAT'.
---@param message string
---@return string
function errors.reason(message)
  return message:match(': ([^:]*)$') or message
end

--- Raises a user error. Whatever came into its message from a file or from outside, it is one line.
---@param format string as for string.format
---@param ... any
function errors.raise(format, ...)
  errors.raise_as(nil, format, ...)
end

--- The same where a caller may know what to do about it.
---@param kind icot.ErrorKind?
---@param format string
---@param ... any
function errors.raise_as(kind, format, ...)
  local message = select('#', ...) > 0 and format:format(...) or format
  error(setmetatable({ message = errors.one_line(message), kind = kind }, UserError), 0)
end

--- Whether an error value was raised by `errors.raise`.
---@param value any
---@return boolean
function errors.is_user_error(value)
  return getmetatable(value) == UserError
end

--- Whether an error value is a user error of a kind.
---@param value any
---@param kind icot.ErrorKind
---@return boolean
function errors.is(value, kind)
  return errors.is_user_error(value) and value.kind == kind
end

--- Calls a function; if memory runs out in it, the error says in what, and what to do.
---@generic T
---@param what string what needed the memory: 'model'
---@param advice string 'a smaller model.width or model.layers needs less'
---@param body fun(...): T
---@param ... any passed on to `body`
---@return T ...
function errors.explain_memory(what, advice, body, ...)
  local function finish(ok, ...)
    if ok then return ... end
    local raised = ...
    if errors.is(raised, 'no_memory') then errors.raise('%s: %s; %s', what, raised.message, advice) end
    error(raised, 0)
  end
  return finish(pcall(body, ...))
end

--- What to tell about anything that was raised: of a user error its message, of a bug its first line.
---@param raised any
---@param with_traceback? boolean everything there is; to be called from a handler of xpcall then
---@return string
function errors.describe(raised, with_traceback)
  local message = tostring(raised)
  if with_traceback then return debug.traceback(message, 2) end
  if errors.is_user_error(raised) then return message end
  return message:gsub('\n.*', '') .. ' (this looks like a bug in icot; --traceback shows more)'
end

return errors
