--- Runs that go on although their study was killed.
---
--- They stay at work until they find nobody whom they could tell how it goes, and have saved what they have. Whoever
--- resumes the study at once waits for that; the lock itself is the trainer's to take, or to miss.
local interrupt = require 'icot.engine.interrupt'
local lock = require 'icot.engine.lock'
local process = require 'icot.study.process'

local orphan = {}

local LONGEST, BETWEEN_TRIES = 60, 0.5 -- seconds

-- Whether nobody has the lock of a run; if somebody has it, the second value says who.
local function is_free(path)
  local ok, held = pcall(lock.take, path)
  if ok then held:release() end
  return ok, held
end

--- Waits until no other process is at work on a run, for a minute at most.
---@param path string of the run file
---@param note fun(text: string)
---raises what icot.engine.interrupt does when the user ends the program.
function orphan.wait_for(path, note)
  local free, problem = is_free(path)
  if not free then note(('waiting up to %d s: %s'):format(LONGEST, tostring(problem))) end
  for _ = 1, LONGEST / BETWEEN_TRIES do
    if free then return end
    process.wait_for_any({}, BETWEEN_TRIES)
    interrupt.check()
    free = is_free(path)
  end
end

return orphan
