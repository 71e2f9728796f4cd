--- How long something takes.
local core = require 'icot.engine.core'

local timing = {}

--- Seconds that a function takes.
---@param body function
---@param ... any its arguments
---@return number
function timing.seconds_of(body, ...)
  local started = core.C.icot_seconds()
  body(...)
  return core.C.icot_seconds() - started
end

--- The median; of an even count, the smaller one of the two in the middle.
---@param list number[] is sorted
---@return number
function timing.median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

return timing
