--- Counter-based random numbers: a pure function of (seed, stream, step, index), so nothing is replayed to resume.
local ffi = require 'ffi'
local core = require 'icot.engine.core'

local C = core.C
local random = {}

--- What the numbers are for; two streams never share numbers.
random.streams = {
  init = C.ICOT_STREAM_INIT, order = C.ICOT_STREAM_ORDER, offset = C.ICOT_STREAM_OFFSET,
  data = C.ICOT_STREAM_DATA, removal = C.ICOT_STREAM_REMOVAL, dropout = C.ICOT_STREAM_DROPOUT,
  probe = C.ICOT_STREAM_PROBE,
}

--- A key for the core's random functions.
---@param seed integer
---@param stream string|integer a name of `random.streams`, or a number
---@param step? integer training step, epoch or index of a tensor; 0 by default
---@return ffi.cdata* key icot_random_key
function random.key(seed, stream, step)
  return ffi.new('icot_random_key', seed, random.streams[stream] or stream, step or 0)
end

--- A random order of 0 … n-1.
---@param key ffi.cdata* from `random.key`
---@param n integer
---@return ffi.cdata* order int32_t[n]
function random.permutation(key, n)
  local order = ffi.new('int32_t[?]', n)
  C.icot_random_permutation(key, n, order)
  return order
end

---@class icot.Generator gives each parameter of a model a key of its own
local Generator = {}
Generator.__index = Generator

--- A source of keys for initial values: the k-th key is (seed, init, k).
---@param seed integer
---@return icot.Generator
function random.generator(seed)
  return setmetatable({ seed = seed, count = 0 }, Generator)
end

---@return ffi.cdata* key icot_random_key
function Generator:next()
  self.count = self.count + 1
  return random.key(self.seed, 'init', self.count)
end

local default = random.generator(0)

--- Seeds the generator that is used where none is given.
---@param seed integer
function random.manual_seed(seed)
  default = random.generator(seed)
end

--- The generator that is used where none is given.
---@return icot.Generator
function random.default_generator()
  return default
end

return random
