--- Attention maps: where each head of each block looks, worked out from queries and keys step by step. (The operator
--- that the model itself uses never has the whole of them in memory.)
local batch = require 'icot.text.batch'
local scope = require 'icot.engine.scope'
local states = require 'icot.probe.states'
local tensor = require 'icot.tensor'

local attention = {}

local NEVER = -1e30 -- the score of a key that comes after its query

-- (T, T): 0 where a query may look, NEVER elsewhere.
local function causal_mask(length)
  local rows = {}
  for query = 1, length do
    rows[query] = {}
    for key = 1, length do rows[query][key] = key <= query and 0 or NEVER end
  end
  return tensor.new(rows)
end

-- One of queries, keys and values, the `part`-th third of qkv (T, 3C), head by head: (heads, T, C / heads).
local function split_heads(qkv, part, heads)
  local length, width = qkv:size(0), qkv:size(1) / 3
  return qkv:narrow(1, part * width, width):reshape(length, heads, width / heads):permute(1, 0, 2)
end

--- The attention weights of a single sequence: softmax(q·kᵀ / √(width of a head)), each query over the keys up to it.
---@param qkv icot.Tensor (T, 3C)
---@param heads integer
---@return icot.Tensor (heads, T, T), by query and key
function attention.weights(qkv, heads)
  local queries, keys = split_heads(qkv, 0, heads), split_heads(qkv, 1, heads)
  local scores = queries:matmul(keys:transpose(1, 2)) / math.sqrt(queries:size(2))
  return (scores + causal_mask(qkv:size(0))):softmax()
end

---@class icot.probe.AttentionMap one head on one sequence
---@field layer integer the block, from 1 on
---@field head integer from 1 on
---@field length integer T
---@field weights ffi.cdata* float (T, T), by query and key

-- The maps of the block that x, (T, width), goes into.
local function add_maps(maps, block, layer, x)
  local heads, length = block.attn.heads, x:size(0)
  local weights = attention.weights(block.attn.c_attn(block.ln_1(x)), heads)
  for head = 1, heads do
    maps[#maps + 1] = {
      layer = layer, head = head, length = length, weights = (weights:narrow(0, head - 1, 1):read()),
    }
  end
end

--- The attention maps of one example, teacher-forced, for all blocks and heads.
---@param model icot.Model of a single GPT-2
---@param corpus icot.Corpus
---@param id integer the example, counted from 0
---@param cut ffi.cdata* icot_removal
---@return icot.probe.AttentionMap[] maps
---@return integer[] tokens (T)
function attention.maps(model, corpus, id, cut)
  local maps, tokens = {}, {}
  batch.with(function(packed)
    packed:pack(corpus, batch.ids(id, 1), 1, cut)
    for i = 1, packed:tokens() do tokens[i] = packed.raw.tokens[i - 1] end
    scope.run(scope.no_grad, states.each, model, packed, function(layer, x)
      local block = model:decoding().transformer.h[layer + 1]
      if block then add_maps(maps, block, layer + 1, x) end
    end)
  end)
  return maps, tokens
end

return attention
