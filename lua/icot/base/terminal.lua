--- What there is to know about the terminal: how wide it is, and whether it may be coloured; and how icot speaks there.
local installation = require 'icot.base.installation'

local terminal = {}

local STDIN, STDOUT, STDERR = 0, 1, 2

--- Columns of the terminal that a stream goes to.
---@param stream file* io.stdout or io.stderr
---@return integer? columns nil: it goes to a file or pipe (or it is not known)
function terminal.columns(stream)
  if os.getenv('TERM') == 'dumb' then return nil end
  return installation.terminal_columns(stream == io.stdout and STDOUT or STDERR)
end

--- Whether the standard input is a terminal, where somebody types.
---@return boolean
function terminal.is_typed_at()
  return installation.terminal_columns(STDIN) ~= nil
end

--- Whether a stream may be coloured: a terminal, and NO_COLOR (no-color.org) is not set.
---@param stream file*
---@return boolean
function terminal.has_color(stream)
  local forbidden = os.getenv('NO_COLOR')
  return (forbidden == nil or forbidden == '') and terminal.columns(stream) ~= nil
end

--- Makes a text bold, if there is colour.
---@param text string
---@param color boolean see `terminal.has_color`
---@return string
function terminal.bold(text, color)
  return color and ('\27[1m%s\27[0m'):format(text) or text
end

--- Tells the user something beside the output: a line that begins with the program's name, written in one piece.
---@param text string
---@param stream? file* default: io.stderr
function terminal.tell(text, stream)
  (stream or io.stderr):write(('icot: %s\n'):format(text))
end

return terminal
