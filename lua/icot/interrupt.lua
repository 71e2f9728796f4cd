--- Ctrl-C, SIGTERM and SIGHUP end long work between two of its steps.
---
--- Whoever runs such work calls `check` now and then. Once a signal has come it raises; whoever has to leave things
--- tidy catches that, knows it by `is_interrupt`, and ends in order.
local core = require 'icot.core'

local C = core.C
local interrupt = {}

local Interrupt = setmetatable({}, { __tostring = function() return 'interrupted' end })

local requested = false

--- Ends the work under way as a signal would.
function interrupt.request()
  requested = true
end

--- Raises if the user wants the program to end.
function interrupt.check()
  if requested or C.icot_interrupted() ~= 0 then error(Interrupt, 0) end
end

--- Whether an error value was raised by `check`.
---@param raised any
---@return boolean
function interrupt.is_interrupt(raised)
  return raised == Interrupt
end

return interrupt
