--- Keys and values of what sequences have read, while they are decoded.
local core = require 'icot.engine.core'
local ffi = require 'ffi'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local kv_cache = {}

---@class icot.KVCache keys and values of all layers, and which rows this forward pass uses
---@field keys icot.Tensor[] per layer, (slots, capacity, width)
---@field values icot.Tensor[]
---@field slots icot.Tensor int32 (B)
---@field lengths icot.Tensor int32 (B): tokens cached before this pass
local KVCache = {}
KVCache.__index = KVCache

--- A cache for `slots` sequences of up to `capacity` tokens; lives until freed.
---@param config icot.GPT2Config
---@param slots integer
---@param capacity integer
---@return icot.KVCache `slots` and `lengths` are set before each pass
---raises an error when there is too little memory
function kv_cache.new(config, slots, capacity)
  local self = { keys = {}, values = {} }
  local made = scope.all_or_none(function()
    local empty = {}
    for i = 1, 2 * config.layers do empty[i] = tensor.empty { slots, capacity, config.width } end
    return empty
  end)
  for layer = 1, config.layers do self.keys[layer], self.values[layer] = made[2 * layer - 1], made[2 * layer] end
  return setmetatable(self, KVCache)
end

local handle_out = ffi.new('icot_tensor[1]')

--- Attention of new tokens to themselves and to those that are cached; they are cached, too.
---@param attention icot.nn.Attention
---@param qkv icot.Tensor (T, 3·width) of the new tokens
---@param context icot.Context
---@return icot.Tensor (T, width)
function KVCache:attend(attention, qkv, context)
  core.check(core.C.icot_attention_cached(
    core.engine(), qkv.handle, context.cu_seqlens.handle, self.slots.handle, self.lengths.handle,
    self.keys[attention.layer].handle, self.values[attention.layer].handle, attention.heads, handle_out))
  qkv:release()
  return tensor.wrap(handle_out[0])
end

--- Frees keys and values.
function KVCache:free()
  for layer = 1, #self.keys do
    self.keys[layer]:free()
    self.values[layer]:free()
  end
end

return kv_cache
