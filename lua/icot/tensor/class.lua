--- The class of tensors: making them, looking at them, their lifetime, and how any operator is applied.
---
--- Use icot.tensor, which is this module with the operators as methods.
local ffi = require 'ffi'
local core = require 'icot.engine.core'
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local random = require 'icot.engine.random'
local tensor_text = require 'icot.tensor.text'

local C, check = core.C, core.check
local tensor = {}

---@class icot.Tensor
---@field handle integer icot_tensor, a 64-bit handle
---@operator add(icot.Tensor|number): icot.Tensor
---@operator sub(icot.Tensor|number): icot.Tensor
---@operator mul(icot.Tensor|number): icot.Tensor
---@operator div(icot.Tensor|number): icot.Tensor
---@operator unm: icot.Tensor
local Tensor = {}
Tensor.__index = Tensor

local handle_out, one_size = ffi.new('icot_tensor[1]'), ffi.new('int64_t[1]')
local dtypes = { float32 = C.ICOT_FLOAT32, int32 = C.ICOT_INT32 }
local elements = { [0] = 'float[?]', [1] = 'int32_t[?]' }

--- The tensor of a handle that a function of the core returned.
---@param handle integer
---@return icot.Tensor
function tensor.wrap(handle)
  return setmetatable({ handle = handle }, Tensor)
end

--- Whether a value is a tensor.
---@param value any
---@return boolean
function tensor.is_tensor(value)
  return getmetatable(value) == Tensor
end

-- Copies numbers that the user gave into a C array with room for `most` of them. `noun` names them in the errors.
local function fill_in(array, most, values, who, noun, whole)
  if #values > most then errors.raise('%s: got %d %s, at most %d can be given', who, #values, noun, most) end
  for i = 1, #values do
    local value = values[i]
    if type(value) ~= 'number' or (whole and value % 1 ~= 0) then
      local got = type(value) == 'number' and tostring(value) or 'a ' .. type(value)
      errors.raise('%s: got %s, expected a %s', who, got, whole and 'whole number' or 'number')
    end
    array[i - 1] = value
  end
end

-- ---- Making tensors -----------------------------------------------------------------------------

local function make(create, shape, dtype)
  if type(shape) ~= 'table' then errors.raise('tensor: the shape is a %s, expected a table of sizes', type(shape)) end
  local code = dtypes[dtype or 'float32'] or errors.raise("tensor: '%s' is not a dtype", tostring(dtype))
  local sizes = ffi.new('int64_t[?]', #shape + 1)
  fill_in(sizes, #shape, shape, 'tensor', 'sizes', true)
  check(create(core.engine(), code, #shape, sizes, handle_out))
  return tensor.wrap(handle_out[0])
end

--- A tensor of zeros.
---@param shape integer[] sizes of the dimensions; {} is a scalar
---@param dtype? 'float32'|'int32' float32 by default
---@return icot.Tensor
---raises an error when a size is negative or no integer, or there is too little memory; so do the others that make one
function tensor.zeros(shape, dtype)
  return make(C.icot_tensor_create, shape, dtype)
end

--- A tensor of whatever lies in its memory, for one that is written before it is read.
---@param shape integer[]
---@param dtype? 'float32'|'int32'
---@return icot.Tensor
function tensor.empty(shape, dtype)
  return make(C.icot_tensor_create_empty, shape, dtype)
end

--- A tensor with the same value everywhere.
---@param shape integer[]
---@param value number a whole one where the dtype is int32
---@param dtype? 'float32'|'int32'
---@return icot.Tensor
function tensor.full(shape, value, dtype)
  local made = tensor.empty(shape, dtype)
  check(C.icot_tensor_fill(core.engine(), made.handle, value))
  return made
end

--- A tensor of ones.
---@param shape integer[]
---@param dtype? 'float32'|'int32' float32 by default
---@return icot.Tensor
function tensor.ones(shape, dtype)
  return tensor.full(shape, 1, dtype)
end

--- Normally distributed numbers.
---@param shape integer[]
---@param options? { mean?: number, std?: number, key?: ffi.cdata* } key: from icot.engine.random
---@return icot.Tensor
function tensor.randn(shape, options)
  options = options or {}
  local made = tensor.empty(shape)
  local key = options.key or random.default_generator():next()
  check(C.icot_tensor_normal(core.engine(), made.handle, options.mean or 0, options.std or 1, key))
  return made
end

--- Uniformly distributed numbers in [low, high), by default [0, 1).
---@param shape integer[]
---@param options? { low?: number, high?: number, key?: ffi.cdata* }
---@return icot.Tensor
function tensor.rand(shape, options)
  options = options or {}
  local made = tensor.empty(shape)
  local key = options.key or random.default_generator():next()
  check(C.icot_tensor_uniform(core.engine(), made.handle, options.low or 0, options.high or 1, key))
  return made
end

--- Appends the numbers of nested tables to `values`, checking that all rows are alike.
local function flatten(data, level, shape, values)
  if type(data) ~= 'table' then
    if level ~= #shape + 1 or type(data) ~= 'number' then
      errors.raise('tensor: expected nested tables of numbers, all rows of the same length')
    end
    values[#values + 1] = data
    return
  end
  if #data ~= shape[level] then
    errors.raise('tensor: a row has %s where others have %s', counted.of(#data, 'element'), tostring(shape[level]))
  end
  for _, item in ipairs(data) do flatten(item, level + 1, shape, values) end
end

-- C would cut a fraction off, and turn what is too large into anything.
local function require_int32(values)
  for _, value in ipairs(values) do
    if value % 1 ~= 0 or value < -2 ^ 31 or value >= 2 ^ 31 then
      errors.raise('tensor: got %s for an int32 tensor, expected whole numbers from -2^31 to 2^31 - 1', value)
    end
  end
end

--- A tensor of given values.
---@param data number|table a number, a list of numbers, a list of such lists, …
---@param dtype? 'float32'|'int32'
---@return icot.Tensor
function tensor.new(data, dtype)
  local shape, inner, values = {}, data, {}
  while type(inner) == 'table' do
    shape[#shape + 1] = #inner
    inner = inner[1]
  end
  flatten(data, 1, shape, values)
  if dtype == 'int32' then require_int32(values) end
  local made = tensor.empty(shape, dtype)
  made:write(ffi.new(elements[dtypes[dtype or 'float32']], math.max(#values, 1), values), #values)
  return made
end

--- An int32 tensor (n) of the numbers in a C array, which are copied.
---@param numbers ffi.cdata* int32_t *
---@param n integer
---@return icot.Tensor
function tensor.from_ints(numbers, n)
  one_size[0] = n
  check(C.icot_tensor_create_empty(core.engine(), C.ICOT_INT32, 1, one_size, handle_out))
  local made = tensor.wrap(handle_out[0])
  made:write(numbers, n)
  return made
end

-- ---- Looking at tensors -------------------------------------------------------------------------

--- What the core knows about it: dtype, sizes, strides (in elements), and whether it wants a gradient.
---@return ffi.cdata* info icot_tensor_info
function Tensor:describe()
  local info = ffi.new('icot_tensor_info')
  check(C.icot_tensor_describe(core.engine(), self.handle, info))
  return info
end

--- Sizes of the dimensions.
---@return integer[]
function Tensor:shape()
  local info, shape = self:describe(), {}
  for d = 0, info.ndim - 1 do shape[d + 1] = tonumber(info.shape[d]) end
  return shape
end

--- Size of one dimension.
---@param dim integer from 0; -1 is the last
---@return integer
---raises an error when there is no such dimension
function Tensor:size(dim)
  local info = self:describe()
  local index = dim < 0 and dim + info.ndim or dim
  if index < 0 or index >= info.ndim then
    errors.raise('size: got dimension %d of a tensor with %d', dim, info.ndim)
  end
  return tonumber(info.shape[index])
end

--- The type of its elements.
---@return 'float32'|'int32'
function Tensor:dtype()
  return self:describe().dtype == C.ICOT_INT32 and 'int32' or 'float32'
end

--- Number of elements.
---@return integer
function Tensor:numel()
  return tonumber(self:describe().numel)
end

--- A copy of the elements in row-major order.
---@return ffi.cdata* values float[numel] or int32_t[numel]
---@return integer numel
function Tensor:read()
  local info = self:describe()
  local numel = tonumber(info.numel)
  local values = ffi.new(elements[tonumber(info.dtype)], math.max(numel, 1))
  check(C.icot_tensor_read(core.engine(), self.handle, values, numel))
  return values, numel
end

--- Overwrites the elements, row-major, from a C array of the tensor's dtype. Not while backward still has to read it.
---@param values ffi.cdata*
---@param numel integer must be the tensor's
function Tensor:write(values, numel)
  check(C.icot_tensor_write(core.engine(), self.handle, values, numel))
end

--- The value of a tensor with a single element.
---@return number
---raises an error when it has more elements, or none
function Tensor:item()
  local values, numel = self:read()
  if numel ~= 1 then errors.raise('item: the tensor has %d elements, expected 1', numel) end
  return tonumber(values[0])
end

--- The elements as nested tables (a number for a scalar).
---@return table|number
function Tensor:totable()
  return tensor_text.nest(self:shape(), (self:read()))
end

function Tensor:__tostring()
  return tensor_text.format(self:shape(), self:dtype(), (self:read()))
end

-- ---- Lifetime and gradients ---------------------------------------------------------------------

--- Frees it at once; it cannot be used afterwards.
function Tensor:free()
  check(C.icot_tensor_free(core.engine(), self.handle))
end

--- Says that it will not be used any more. It goes as soon as backward does not need it, mostly long before its scope
--- closes; the output of a layer norm goes at once, and is computed again for backward.
function Tensor:release()
  check(C.icot_tensor_release(core.engine(), self.handle))
end

--- Moves it from the innermost scope to the one around it.
---@return icot.Tensor self
function Tensor:keep()
  check(C.icot_tensor_keep(core.engine(), self.handle))
  return self
end

--- The same data, without history.
---@return icot.Tensor
function Tensor:detach()
  check(C.icot_tensor_detach(core.engine(), self.handle, handle_out))
  return tensor.wrap(handle_out[0])
end

--- Says whether gradients are wanted; only for leaves.
---@param wanted? boolean true by default
---@return icot.Tensor self
function Tensor:requires_grad_(wanted)
  check(C.icot_requires_grad(core.engine(), self.handle, wanted == false and 0 or 1))
  return self
end

--- Whether backward leaves a gradient here.
---@return boolean
function Tensor:requires_grad()
  return self:describe().requires_grad ~= 0
end

--- The gradient that `backward` left here; nil if there is none.
---@return icot.Tensor?
function Tensor:grad()
  check(C.icot_grad(core.engine(), self.handle, handle_out))
  return handle_out[0] ~= 0 and tensor.wrap(handle_out[0]) or nil
end

--- Gradients of this scalar with respect to all leaves that want one; they add up until zeroed.
function Tensor:backward()
  check(C.icot_backward(core.engine(), self.handle))
end

--- Calls a function of tensors as it is, but drops what it has computed on the way: that is computed again, with the
--- same bits, when `backward` comes to it. Memory for time, as in PyTorch's torch.utils.checkpoint. Random numbers come
--- from keys, so they are the same the second time.
---
--- Only what the function returns can be used afterwards; another tensor made in it is an error wherever it is held.
--- What no gradient passes through is not dropped. Neither what it reads nor what it makes may be written to by hand
--- before `backward`.
---@generic T
---@param body fun(...): T
---@param ... any passed on to `body`
---@return T ... what `body` returned
function tensor.checkpoint(body, ...)
  local engine = core.engine()
  local from = C.icot_tape_length(engine)
  local function finish(...)
    local count, results = 0, ffi.new('icot_tensor[?]', select('#', ...) + 1)
    for i = 1, select('#', ...) do
      local each = select(i, ...)
      if tensor.is_tensor(each) then
        results[count] = each.handle
        count = count + 1
      end
    end
    check(C.icot_checkpoint(engine, from, results, count))
    return ...
  end
  return finish(body(...))
end

-- ---- Applying operators ----------------------------------------------------------------------------------

local params, no_params = ffi.new('icot_op_params'), ffi.new('icot_op_params')
local params_bytes = ffi.sizeof(params)
local most_inputs, most_indices, most_numbers =
  tonumber(C.ICOT_MAX_INPUTS), tonumber(C.ICOT_MAX_INDICES), tonumber(C.ICOT_MAX_NUMBERS)
local inputs = ffi.new('icot_tensor[?]', most_inputs)
local operators = {} -- name -> index in the core's table
for index = 0, C.icot_operator_count() - 1 do operators[ffi.string(C.icot_operator_name(index))] = index end

--- Names of all operators of the core.
---@return string[]
function tensor.operators()
  local names = {}
  for name, index in pairs(operators) do names[index + 1] = name end
  return names
end

local function params_of(name, index, number, key)
  if not (index or number or key) then return no_params end
  ffi.fill(params, params_bytes)
  if index then
    fill_in(params.index, most_indices, index, name, 'indices', true)
    params.n_index = #index
  end
  if number then fill_in(params.number, most_numbers, number, name, 'numbers') end
  if key then params.key = key end
  return params
end

--- Applies an operator of the core's table; the methods below give each a readable form.
---@param name string
---@param tensors icot.Tensor[]
---@param index? integer[] whole-number parameters, at most ICOT_MAX_INDICES
---@param number? number[] other parameters, at most ICOT_MAX_NUMBERS
---@param key? ffi.cdata* of random numbers
---@return icot.Tensor
---raises an error: an unknown operator, too many tensors or parameters, one of the wrong type, shapes that don't fit
function tensor.apply(name, tensors, index, number, key)
  local operator, count = operators[name] or errors.raise("there is no operator '%s'", tostring(name)), #tensors
  if count > most_inputs then
    errors.raise('%s: got %d tensors, at most %d can be given', name, count, most_inputs)
  end
  for i = 1, count do
    local each = tensors[i]
    if getmetatable(each) ~= Tensor then
      errors.raise('%s: argument %d is a %s, expected a tensor', name, i, type(each))
    end
    inputs[i - 1] = each.handle
  end
  check(C.icot_apply(core.engine(), operator, inputs, count, params_of(name, index, number, key), handle_out))
  return tensor.wrap(handle_out[0])
end

--- Index of the largest element of each row; self is (R, C).
---@return icot.Tensor int32 (R)
function Tensor:argmax()
  check(C.icot_tensor_argmax(core.engine(), self.handle, handle_out))
  return tensor.wrap(handle_out[0])
end

tensor.Tensor = Tensor
return tensor
