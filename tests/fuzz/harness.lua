--- Feeds inputs to a fuzz target and tells what is a finding.
---
--- A target, tests/fuzz/targets/NAME.lua, returns function(folder) -> function(bytes): made once, then called for each
--- input. It may raise user errors; that is what bad input should lead to. Findings are all other errors, failed
--- assertions among them; user errors that are no single line; and memory or open files that are left behind.
local ffi = require 'ffi'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local lfs = require 'lfs'

local harness = {}

local PATIENCE = 200 -- inputs; the collector gets that many to free what only it knows of

-- ---- Messages -----------------------------------------------------------------------------------

--- Makes sure that a message is what a user should see: one line, and nothing that controls a terminal.
---@param message any
function harness.check_message(message)
  assert(type(message) == 'string' and message ~= '', 'a user error without a message')
  if errors.one_line(message) == message then return end
  error(('a user error with control characters: %q'):format(message), 0)
end

local function explain(problem)
  if errors.is_user_error(problem) then return problem end
  return debug.traceback(tostring(problem), 2)
end

-- ---- What must not be left behind ---------------------------------------------------------------

local counters = ffi.new('icot_memory')

local function live_bytes()
  core.C.icot_memory_read(counters)
  return tonumber(counters.live)
end

-- Descriptors of files below a folder.
local function open_files(folder)
  local count = 0
  for name in lfs.dir('/proc/self/fd') do
    local target = lfs.symlinkattributes('/proc/self/fd/' .. name, 'target')
    if target and target:sub(1, #folder) == folder then count = count + 1 end
  end
  return count
end

local function measure(folder)
  collectgarbage()
  collectgarbage() -- the first time only runs finalizers
  return { bytes = live_bytes(), files = open_files(folder) }
end

local function check_left(before, folder)
  local now = measure(folder)
  if now.bytes > before.bytes then error(('%d bytes of the core are left'):format(now.bytes - before.bytes), 0) end
  if now.files > before.files then error('a file is left open', 0) end
end

-- ---- Targets ------------------------------------------------------------------------------------

--- The inputs that a target begins with.
---@param name string
---@return table<string, string> inputs by the names of their files
function harness.seeds(name)
  local folder, seeds = 'tests/fuzz/corpus/' .. name, {}
  for file_name in lfs.dir(folder) do
    if file_name:sub(1, 1) ~= '.' then
      local file = assert(io.open(folder .. '/' .. file_name, 'rb'))
      seeds[file_name] = file:read('*a')
      file:close()
    end
  end
  return seeds
end

--- Loads a target.
---@param name string
---@param folder string an empty folder for its files
---@param patience? integer look for what is left behind after so many inputs; 200 by default
---@return fun(bytes: string) take raises an error that describes a finding
function harness.load(name, folder, patience)
  local target = require('tests.fuzz.targets.' .. name)(folder)
  for _, bytes in pairs(harness.seeds(name)) do pcall(target, bytes) end -- some memory is taken when it is first needed
  local taken, before = 0, measure(folder)
  return function(bytes)
    local ok, problem = xpcall(target, explain, bytes)
    if not ok then
      if not errors.is_user_error(problem) then error(problem, 0) end
      harness.check_message(problem.message)
    end
    taken = taken + 1
    if taken % (patience or PATIENCE) == 0 then check_left(before, folder) end
  end
end

return harness
