--- Ctrl-C, SIGTERM and SIGHUP end long work between two of its steps.
---
--- Whoever runs such work calls `check` now and then. Once a signal has come it raises; whoever has to leave things
--- tidy catches that, knows it by `is_interrupt`, and ends in order.
local core = require 'icot.engine.core'

local C = core.C
local interrupt = {}

local Interrupt = setmetatable({}, { __tostring = function() return 'interrupted' end })

local SIGNALLED = 128 -- exit code of a program that a signal ended, plus the signal's number

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

--- What a program ends with after a signal.
---@return integer exit_code 128 + the signal's number
function interrupt.exit_code()
  return SIGNALLED + C.icot_interrupted()
end

--- Does the work of a command, which signals end from here on.
---@param body fun(...)
---@return integer exit_code 0, or that of the signal
---raises whatever else `body` raised
function interrupt.run(body, ...)
  core.check(C.icot_interrupts_catch())
  local ok, problem = pcall(body, ...)
  if ok then return 0 end
  if interrupt.is_interrupt(problem) then return interrupt.exit_code() end
  error(problem, 0)
end

return interrupt
