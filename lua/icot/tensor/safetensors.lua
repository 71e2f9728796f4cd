--- safetensors files, with the names of the Python library.
---
---     local file = safetensors.open('model.safetensors')
---     for _, name in ipairs(file:names()) do print(name, file:info(name).dtype) end
---     local weight = file:read('wte.weight')
---     file:close()
---
--- A file is checked as a whole when it is opened: every entry well-formed, of a known dtype, as long as its shape
--- says, and all of them together covering the data without holes or overlaps. Tensors of F32, F16, BF16, I32 and
--- I64 can be read; the other dtypes of the format may be in a file, as long as nobody asks for them.
local ffi = require 'ffi'
local cleanup = require 'icot.base.cleanup'
local core = require 'icot.engine.core'
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local json = require 'icot.base.json'
local names = require 'icot.base.names'
local options = require 'icot.base.options'
local tensor = require 'icot.tensor'
local tensor_text = require 'icot.tensor.text'
local values = require 'icot.base.values'

local C, check = core.C, core.check
local safetensors = {}

---@class icot.SafetensorsEntry
---@field name string
---@field dtype string as in the file: 'F32', 'BF16', …
---@field shape integer[]
---@field first integer the tensor's bytes are [first, stop) of the data part
---@field stop integer

---@class icot.SafetensorsFile
---@field path string
---@field handle ffi.cdata*? nil once it is closed
---@field entries table<string, icot.SafetensorsEntry>
local File = {}
File.__index = File

local METADATA = '__metadata__'

-- Bytes of an element.
local dtype_bytes = {
  BOOL = 1, U8 = 1, I8 = 1, F8_E4M3 = 1, F8_E5M2 = 1, F8_E8M0 = 1, F8_E4M3FNUZ = 1, F8_E5M2FNUZ = 1,
  I16 = 2, U16 = 2, F16 = 2, BF16 = 2, I32 = 4, U32 = 4, F32 = 4, I64 = 8, U64 = 8, F64 = 8, C64 = 8,
}

local integers = { I32 = true, I64 = true } -- are read as int32, all others as float32

-- ---- The header ---------------------------------------------------------------------------------

local function is_count(value)
  return type(value) == 'number' and value >= 0 and value % 1 == 0 and value <= options.largest_integer
end

local function is_list_of_counts(value)
  if type(value) ~= 'table' then return false end
  local count = 0
  for _, item in pairs(value) do
    if not is_count(item) then return false end
    count = count + 1
  end
  return count == #value
end

-- Bytes that a tensor needs; inexact only where it is more than any file has.
local function bytes_needed(dtype, shape)
  local bytes = dtype_bytes[dtype]
  for _, size in ipairs(shape) do bytes = bytes * size end
  return bytes
end

-- What is wrong with an entry of the header; nil if nothing is.
local function problem_of(given, data_bytes)
  if type(given) ~= 'table' then return ('its entry is %s, expected a table'):format(values.show(given)) end
  local dtype, shape, offsets = given.dtype, given.shape, given.data_offsets
  if type(dtype) ~= 'string' or not dtype_bytes[dtype] then return ('unknown dtype %s'):format(values.show(dtype)) end
  if not is_list_of_counts(shape) then return 'its shape is not a list of sizes' end
  if not is_list_of_counts(offsets) or #offsets ~= 2 then return 'its data_offsets are not a pair of byte positions' end
  local first, stop = offsets[1], offsets[2]
  if first > stop or stop > data_bytes then
    return ('its bytes %.0f to %.0f reach beyond the %.0f of the file; is it complete?'):format(
      first, stop, data_bytes)
  end
  if stop - first ~= bytes_needed(dtype, shape) then
    return ('it has %.0f bytes, but %s %s needs %.0f'):format(
      stop - first, dtype, tensor_text.shape(shape), bytes_needed(dtype, shape))
  end
end

local function check_metadata(path, metadata)
  if metadata == nil then return end
  local fine = type(metadata) == 'table'
  for key, value in pairs(fine and metadata or {}) do
    fine = fine and type(key) == 'string' and type(value) == 'string'
  end
  if not fine then errors.raise('safetensors file %s: %s is not a table of strings', path, METADATA) end
end

-- The tensors must lie end to end, in whatever order.
local function check_cover(path, entries, data_bytes)
  table.sort(entries, function(a, b)
    if a.first ~= b.first then return a.first < b.first end
    return a.stop < b.stop
  end)
  local place, before = 0, nil
  for _, entry in ipairs(entries) do
    if entry.first < place then
      errors.raise('safetensors file %s: the bytes of tensors %s and %s overlap', path, values.show(before.name),
                   values.show(entry.name))
    elseif entry.first > place then
      errors.raise('safetensors file %s: tensor %s: the %.0f bytes before it belong to no tensor', path,
                   values.show(entry.name), entry.first - place)
    end
    place, before = entry.stop, entry
  end
  if place < data_bytes then
    errors.raise('safetensors file %s: the last %.0f bytes belong to no tensor', path, data_bytes - place)
  end
end

local function decode_header(path, text)
  local header, problem = json.decode_strictly(text)
  if header == nil then errors.raise('safetensors file %s: the header %s', path, problem) end
  return header
end

-- The entries of a header by name.
local function read_entries(path, text, data_bytes)
  local header, list, by_name = decode_header(path, text), {}, {}
  check_metadata(path, header[METADATA])
  header[METADATA] = nil
  for _, name in ipairs(names.sorted(header)) do
    local given = header[name]
    local problem = problem_of(given, data_bytes)
    if problem then errors.raise('safetensors file %s: tensor %s: %s', path, values.show(name), problem) end
    local offsets = given.data_offsets
    local entry = { name = name, dtype = given.dtype, shape = given.shape, first = offsets[1], stop = offsets[2] }
    list[#list + 1], by_name[name] = entry, entry
  end
  check_cover(path, list, data_bytes)
  return by_name
end

-- ---- Reading ------------------------------------------------------------------------------------

local file_out, length_out = ffi.new('icot_safetensors *[1]'), ffi.new('int64_t[1]')

--- Opens a file and checks all of it but the numbers.
---@param path string
---@return icot.SafetensorsFile
---raises an error that names the tensor and what is wrong with it
function safetensors.open(path)
  check(C.icot_safetensors_open(path, file_out))
  local handle = ffi.gc(file_out[0], C.icot_safetensors_close)
  local self = setmetatable({ path = path, handle = handle }, File)
  local header = C.icot_safetensors_header(handle, length_out)
  local text = ffi.string(header, tonumber(length_out[0]))
  local bytes = tonumber(C.icot_safetensors_data_bytes(handle))
  self.entries = cleanup.on_error(function() self:close() end, read_entries, path, text, bytes)
  return self
end

--- Closes the file. Tensors that were read from it stay.
function File:close()
  if self.handle then C.icot_safetensors_close(ffi.gc(self.handle, nil)) end
  self.handle = nil
end

--- The names of all tensors, sorted.
---@return string[]
function File:names()
  return names.sorted(self.entries)
end

-- Raises an error about a tensor of the file.
function File:raise(name, format, ...)
  errors.raise('safetensors file %s: tensor %s: ' .. format, self.path, values.show(name), ...)
end

local function entry_of(self, name)
  return self.entries[name] or self:raise(name, 'it is not in the file')
end

--- What the file says about a tensor.
---@param name string
---@return { dtype: string, shape: integer[] } info
---raises an error when there is no such tensor
function File:info(name)
  local entry = entry_of(self, name)
  return { dtype = entry.dtype, shape = values.copy(entry.shape) }
end

--- Reads a tensor into one that is there, of the same shape; float16 and bfloat16 are widened exactly.
---@param name string
---@param into icot.Tensor float32 for F32, F16 and BF16, int32 for I32 and I64; may be a view
function File:read_into(name, into)
  if not self.handle then errors.raise('safetensors file %s: it is closed', self.path) end
  local entry, wanted = entry_of(self, name), tensor_text.shape(into:shape())
  local found = tensor_text.shape(entry.shape)
  if found ~= wanted then self:raise(name, 'its shape is %s, expected %s', found, wanted) end
  local shown, dtype = values.show(name), entry.dtype
  local stored = ffi.new('icot_stored_tensor', shown, dtype, entry.first, entry.stop)
  check(C.icot_safetensors_read(core.engine(), self.handle, stored, into.handle))
end

--- Reads a tensor.
---@param name string
---@return icot.Tensor
function File:read(name)
  local entry = entry_of(self, name)
  if #entry.shape > C.ICOT_MAX_DIMS then
    self:raise(name, 'it has %d dimensions, a tensor can have %d', #entry.shape, C.ICOT_MAX_DIMS)
  end
  local made = tensor.zeros(entry.shape, integers[entry.dtype] and 'int32' or 'float32')
  cleanup.or_free(made, function() self:read_into(name, made) end)
  return made
end

--- Reads all tensors of a file.
---@param path string
---@return table<string, icot.Tensor>
function safetensors.load_file(path)
  local file, loaded = safetensors.open(path), {}
  local function read_all()
    for _, name in ipairs(file:names()) do loaded[name] = file:read(name) end
  end
  local function free_all()
    for _, each in pairs(loaded) do each:free() end
  end
  cleanup.always(function() file:close() end, cleanup.on_error, free_all, read_all)
  return loaded
end

--- Reads a file into tensors that are there.
---@param path string
---@param tensors table<string, icot.Tensor> all that the file has to have, by name; may be views
---@param owner string what they belong to, for messages
---raises an error when the file has others than these, or they have other shapes; some may have been read then
function safetensors.load_into(path, tensors, owner)
  local file, count = safetensors.open(path), 0
  cleanup.always(function() file:close() end, function()
    for name, into in pairs(tensors) do
      file:read_into(name, into)
      count = count + 1
    end
    if count ~= #file:names() then
      errors.raise('%s: has %s, but %s has %d', path, counted.of(#file:names(), 'tensor'), owner, count)
    end
  end)
end

-- ---- Writing ------------------------------------------------------------------------------------

--- Writes tensors to a file: all of it, or nothing.
---@param tensors table<string, icot.Tensor>
---@param path string a file that is there is replaced
function safetensors.save_file(tensors, path)
  local list = names.sorted(tensors)
  local named = ffi.new('icot_named_tensor[?]', math.max(#list, 1))
  for i, name in ipairs(list) do
    named[i - 1].name, named[i - 1].tensor = name, tensors[name].handle
  end
  check(C.icot_safetensors_save(core.engine(), path, named, #list))
end

return safetensors
