--- The way to the C core: the one file with ffi.cdef and ffi.load.
---
--- The declarations are the preprocessed core/icot.h, so the header is the single source of truth; ABI number and
--- struct sizes are compared before anything is called. Every other module goes through the table returned here:
--- `core.C` is the library, `core.check` turns an error code into a Lua error.
local ffi = require 'ffi'
local errors = require 'icot.base.errors'
local installation = require 'icot.base.installation'

local core = {}

local function read_header(path)
  local file, reason = io.open(path, 'r')
  if not file then
    errors.raise('the installation is not complete: %s (set ICOT_HEADER, or install icot again)', reason)
  end
  local text = file:read('*a')
  file:close()
  return text
end

local structs = {
  'icot_memory', 'icot_random_key', 'icot_tensor_info', 'icot_op_params', 'icot_adamw_options', 'icot_adamw_state',
  'icot_example', 'icot_removal', 'icot_batch', 'icot_tokenizer_parts', 'icot_column', 'icot_named_tensor',
  'icot_stored_tensor',
}

--- Refuses a library whose header is another one than the one that was read.
local function check_abi(C, library)
  local found = C.icot_abi()
  if found ~= C.ICOT_ABI then
    errors.raise('%s has ABI %d, its header says %d: they come from different versions, install icot again',
                 library, found, tonumber(C.ICOT_ABI))
  end
  for _, name in ipairs(structs) do
    local expected, actual = ffi.sizeof(name), tonumber(C.icot_sizeof(name))
    if expected ~= actual then
      errors.raise('%s: %s has %d bytes in the library and %d in the header; install icot again',
                   library, name, actual, expected)
    end
  end
end

ffi.cdef(read_header(installation.header))
local loaded, C = pcall(ffi.load, installation.library)
if not loaded then errors.raise('cannot load the core: %s', tostring(C)) end
check_abi(C, installation.library)

core.C = C

local kinds = {
  [tonumber(C.ICOT_ERROR_NO_MEMORY)] = 'no_memory', [tonumber(C.ICOT_ERROR_EXISTS)] = 'exists',
  [tonumber(C.ICOT_ERROR_LOCKED)] = 'locked',
}

--- Raises the core's last error as a user error, unless the code is 0.
---@param code integer what a function of the core returned
---@param advised? icot.ErrorKind of an error about which the user can do something
---@param advice? string what is added to its message: '; --force overwrites it'
function core.check(code, advised, advice)
  if code == 0 then return end
  local kind = kinds[C.icot_last_error_kind()]
  errors.raise_as(kind, '%s%s', ffi.string(C.icot_last_error()), kind and kind == advised and advice or '')
end

local engine -- icot_engine*, made when it is first needed

local function start_engine(device)
  local out = ffi.new('icot_engine *[1]')
  core.check(C.icot_engine_create(device, out))
  engine = ffi.gc(out[0], C.icot_engine_free)
end

--- The engine on which all tensors of this program live; on the CPU, if no device was chosen before.
---@return ffi.cdata* engine icot_engine*
function core.engine()
  if not engine then start_engine('cpu') end
  return engine
end

--- The device on which all tensors of this program live.
---@return 'cpu'|'cuda' name
---@return string description the instruction set of the kernels, or the card
function core.device()
  return ffi.string(C.icot_engine_device(core.engine())), ffi.string(C.icot_engine_description(core.engine()))
end

--- Chooses the device, before the first tensor is made.
---@param name 'cpu'|'cuda'
---raises an error if the device cannot be used, or the engine is on another one
function core.use_device(name)
  if not engine then return start_engine(name) end
  local there = core.device()
  if there ~= name then
    errors.raise("device: this program works on '%s', and cannot change to '%s'; runs of a study that differ in it "
                 .. 'need processes of their own (icot study)', there, name)
  end
end

--- Sets how precisely matrix products are computed from now on: all else stays float32.
---@param precision 'float32'|'bf16'|'tf32'
---@return 'float32'|'bf16'|'tf32' precision what it is now
---@return string? problem why it is not what was asked for
function core.set_precision(precision)
  if C.icot_set_precision(core.engine(), precision) == 0 then return precision end
  local problem = ffi.string(C.icot_last_error())
  core.check(C.icot_set_precision(core.engine(), 'float32'))
  return 'float32', problem
end

--- The version of oneDNN, if products in bf16 are its own here (it may be loaded for that), else 'none'.
---@return string
function core.onednn_version()
  return ffi.string(C.icot_onednn_version())
end

--- Versions of icot and of what it stands on, for run files and `icot --version`.
---@return table<string, string>
function core.versions()
  return {
    icot = ffi.string(C.icot_version()),
    luajit = jit.version,
    openblas = ffi.string(C.icot_blas_version()),
    hdf5 = ffi.string(C.icot_hdf5_version()),
    cpu_kernels = ffi.string(C.icot_cpu_kernels()),
  }
end

--- Writes a file whole or not at all, in place of what is there.
---@param path string
---@param text string
---raises an error: it cannot be written.
function core.write_file(path, text)
  core.check(C.icot_file_write(path, text, #text))
end

--- Bytes in use now, at most, and kept for reuse.
---@return { live: number, peak: number, cached: number, allocations: number }
function core.memory()
  local counters = ffi.new('icot_memory')
  C.icot_memory_read(counters)
  return {
    live = tonumber(counters.live), peak = tonumber(counters.peak),
    cached = tonumber(counters.cached), allocations = tonumber(counters.allocations),
  }
end

return core
