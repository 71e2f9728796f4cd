--- Child processes: started with a text to read, a log for what they print, and a channel for what they tell.
---
--- The one file that knows lua-posix. A child is the leader of a process group of its own, so that Ctrl-C in the
--- terminal reaches only its parent, which decides what is to be done.
local errors = require 'icot.base.errors'
local fcntl = require 'posix.fcntl'
local poll = require 'posix.poll'
local signal = require 'posix.signal'
local unistd = require 'posix.unistd'
local wait = require 'posix.sys.wait'

local process = {}

process.CHANNEL = 3 -- descriptor on which a child tells its parent something

local MOST_DESCRIPTORS, READ_AT_ONCE, CANNOT_EXECUTE = 1024, 65536, 127

---@class icot.Process
---@field pid integer
---@field private channel integer? descriptor of the end that is read; nil once all was read
---@field private rest string what was read after the last line break
local Process = {}
Process.__index = Process

-- ---- Starting -----------------------------------------------------------------------------------

-- All that a child does before it becomes another program. Nothing that the parent has open is handed on.
local function become(argv, from, log, channel)
  unistd.setpid('p', 0, 0)
  unistd.dup2(from, 0)
  unistd.dup2(log, 1)
  unistd.dup2(log, 2)
  unistd.dup2(channel, process.CHANNEL)
  fcntl.fcntl(process.CHANNEL, fcntl.F_SETFD, 0)
  for fd = process.CHANNEL + 1, MOST_DESCRIPTORS do fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC) end
  unistd.execp(argv[1], { unpack(argv, 2) })
end

local function fork(argv, from, log, channel)
  local pid, problem = unistd.fork()
  if pid == 0 then
    pcall(become, argv, from, log, channel)
    unistd._exit(CANNOT_EXECUTE)
  end
  return pid, problem
end

local function or_raise(what, value, problem, ...)
  if not value then errors.raise('%s: %s', what, problem or 'unknown reason') end
  return value, problem, ...
end

--- Writes all of a text to a descriptor.
---@param fd integer
---@param text string
---@return boolean ok false: nobody reads it any more
function process.write(fd, text)
  while #text > 0 do
    local count = unistd.write(fd, text)
    if not count then return false end
    text = text:sub(count + 1)
  end
  return true
end

---@class icot.ProcessOptions
---@field log string path of the file for its standard output and standard error
---@field append? boolean to what is there
---@field input string what it finds on its standard input

--- Starts a program.
---@param argv string[] its path and its arguments
---@param options icot.ProcessOptions
---@return icot.Process
---raises an error: the log cannot be written; the system has no room for another process.
function process.start(argv, options)
  local flags = fcntl.O_WRONLY + fcntl.O_CREAT + (options.append and fcntl.O_APPEND or fcntl.O_TRUNC)
  local log = or_raise(options.log, fcntl.open(options.log, flags, tonumber('666', 8)))
  local from, into = or_raise('pipe', unistd.pipe())
  local channel, told = or_raise('pipe', unistd.pipe())
  local pid, problem = fork(argv, from, log, told)
  for _, fd in ipairs { log, from, told } do unistd.close(fd) end
  if pid then process.write(into, options.input) end
  unistd.close(into)
  if not pid then unistd.close(channel) end
  or_raise('cannot start ' .. argv[1], pid, problem)
  return setmetatable({ pid = pid, channel = channel, rest = '' }, Process)
end

-- ---- Following it -------------------------------------------------------------------------------

--- Waits until one of the processes tells something or ends, or a signal comes.
---@param processes icot.Process[]
---@param seconds number at most this long
function process.wait_for_any(processes, seconds)
  local waited = {}
  for _, each in ipairs(processes) do
    if each.channel then waited[each.channel] = { events = { IN = true } } end
  end
  poll.poll(waited, math.ceil(seconds * 1000))
end

-- Whether something can be read now, be it the end.
local function is_readable(self)
  return poll.rpoll(self.channel, 0) == 1
end

--- The whole lines that it has told since the last call.
---@return string[] lines
function Process:lines()
  while self.channel and is_readable(self) do
    local text = unistd.read(self.channel, READ_AT_ONCE)
    if text and #text > 0 then
      self.rest = self.rest .. text
    else
      unistd.close(self.channel)
      self.channel = nil
    end
  end
  local lines = {}
  for line in self.rest:gmatch('([^\n]*)\n') do lines[#lines + 1] = line end
  self.rest = self.rest:match('[^\n]*$')
  return lines
end

--- How it ended.
---@return 'exited'|'killed'|nil how nil: it still runs
---@return integer? number exit code, or the signal that killed it
function Process:ended()
  if not self.how then
    local pid, how, number = wait.wait(self.pid, wait.WNOHANG)
    if pid == self.pid and (how == 'exited' or how == 'killed') then self.how, self.number = how, number end
  end
  return self.how, self.number
end

--- Asks it to end in order.
function Process:terminate()
  if not self.how then signal.kill(self.pid, signal.SIGTERM) end
end

-- ---- Memory -------------------------------------------------------------------------------------

-- A line of a file of /proc such as 'VmHWM:   12345 kB', in bytes.
local function bytes_of(path, name)
  local file = io.open(path)
  local text = file and file:read('*a')
  if file then file:close() end
  local kibibytes = text and text:match(name .. ':%s*(%d+) kB')
  return kibibytes and tonumber(kibibytes) * 1024
end

--- Bytes of memory that it takes now, and has taken at most.
---@return number now, number peak 0: it has ended
function Process:memory()
  local path = ('/proc/%d/status'):format(self.pid)
  return bytes_of(path, 'VmRSS') or 0, bytes_of(path, 'VmHWM') or 0
end

--- Bytes that new programs can take without swapping, as the kernel estimates it.
---@return number math.huge: it does not tell
function process.memory_available()
  return bytes_of('/proc/meminfo', 'MemAvailable') or math.huge
end

return process
