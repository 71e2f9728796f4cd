--- This machine: what run files and checkpoints tell of it, and how much memory it has.
local core = require 'icot.engine.core'

local machine = {}

--- Its name.
---@return string
function machine.host_name()
  local file = io.open('/proc/sys/kernel/hostname')
  local name = file and file:read('*l')
  if file then file:close() end
  return name or os.getenv('HOSTNAME') or 'unknown'
end

--- Memory and swap space, in bytes.
---@return number math.huge: the system does not tell
function machine.memory()
  local file, kibibytes = io.open('/proc/meminfo'), 0
  if not file then return math.huge end
  for line in file:lines() do
    local size = line:match('^MemTotal: *(%d+) kB') or line:match('^SwapTotal: *(%d+) kB')
    kibibytes = kibibytes + (tonumber(size) or 0)
  end
  file:close()
  return kibibytes > 0 and kibibytes * 1024 or math.huge
end

---@class icot.Machine what the bits of a run depend on beside its recipe
---@field host string
---@field device string
---@field threads integer
---@field versions table<string, string>

--- The machine as it is set up now.
---@return icot.Machine
function machine.now()
  local device = core.device()
  return {
    host = machine.host_name(), device = device, threads = core.C.icot_threads(), versions = core.versions(),
  }
end

--- What is another way now than it was.
---@param before icot.Machine its `device` may be missing: it was the CPU then
---@return string[] differences 'threads 2, before 4'
function machine.differences(before)
  local now, found = machine.now(), {}
  local function compare(name, old, new)
    if old ~= new then found[#found + 1] = ('%s %s, before %s'):format(name, tostring(new), tostring(old)) end
  end
  compare('host', before.host, now.host)
  compare('device', before.device or 'cpu', now.device)
  compare('threads', before.threads, now.threads)
  for _, name in ipairs { 'cpu_kernels', 'openblas', 'icot' } do
    compare(name, before.versions[name], now.versions[name])
  end
  return found
end

--- A time as it stands in run files: 2026-01-31T23:59:59Z.
---@param seconds? integer since 1970; default: now
---@return string
function machine.time(seconds)
  return os.date('!%Y-%m-%dT%H:%M:%SZ', seconds)
end

return machine
