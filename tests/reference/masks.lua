--- Reads the masks of dropout out of a model, by way of the operators that apply them: zeros and 1/(1-p).
local ffi = require 'ffi'
local tensor = require 'icot.tensor'

local masks = {}

--- Every dropout of a model, by the names that model.py has for them.
---@param model icot.GPT2
---@return { name: string, layer: icot.nn.Dropout, attention: icot.nn.Attention?, at_targets: boolean? }[] at_targets:
---   where only the rows that predict something are worked out
function masks.places(model)
  local blocks, list = model.transformer.h, { { name = 'embedding', layer = model.transformer.drop } }
  for i, block in ipairs(blocks) do
    local name, is_last = ('h.%d.'):format(i - 1), i == #blocks
    list[#list + 1] = { name = name .. 'attention', layer = block.attn.attn_dropout, attention = block.attn }
    list[#list + 1] = { name = name .. 'residual', layer = block.attn.resid_dropout, at_targets = is_last }
    list[#list + 1] = { name = name .. 'mlp', layer = block.mlp.dropout, at_targets = is_last }
  end
  return list
end

--- Makes a model that was loaded without dropout one that has it.
---@param p number
function masks.set_probability(model, p)
  for _, place in ipairs(masks.places(model)) do place.layer.p = p end
end

-- Calls visit(row, seen, head, j): for each token, in row `row` of the batch and place `seen` of its sequence, and each
-- head, the keys j = first … first+count-1 up to the token itself.
local function each_pair(packed, heads, first, count, visit)
  local starts = packed.raw.cu_seqlens
  for b = 0, tonumber(packed.raw.n_examples) - 1 do
    for row = starts[b], starts[b + 1] - 1 do
      local seen = row - starts[b] + 1
      for head = 0, heads - 1 do
        for j = first, math.min(first + count, seen) - 1 do visit(row, seen, head, j) end
      end
    end
  end
end

-- Columns first, first+1, … of the mask, as many as a head has dimensions. Queries and keys of zeros attend to all
-- keys seen alike, and where value j is the unit vector of dimension j - first, the output's dimension j - first is
-- mask[j] / seen.
local function read_columns(attention, width, packed, first, draw, store)
  local heads, n = attention.heads, packed:tokens()
  local size, numbers = width / heads, ffi.new('float[?]', n * 3 * width)
  each_pair(packed, heads, first, size, function(row, seen, head, j)
    if j == seen - 1 then numbers[row * 3 * width + 2 * width + head * size + j - first] = 1 end
  end)
  local qkv = tensor.zeros { n, 3 * width }
  qkv:write(numbers, n * 3 * width)
  local drawn = attention.attn_dropout:draw { dropout = draw }
  local mixed = qkv:attention(packed:tensors().cu_seqlens, heads, drawn):read()
  each_pair(packed, heads, first, size, function(row, seen, head, j)
    store(row, head, j, mixed[row * width + head * size + j - first] * seen)
  end)
end

-- (heads, T, longest sequence): column j decides about key j of the query's own sequence; zero after the query.
local function of_attention(attention, width, packed, draw)
  local starts, longest = packed.raw.cu_seqlens, 0
  for b = 0, tonumber(packed.raw.n_examples) - 1 do longest = math.max(longest, starts[b + 1] - starts[b]) end
  local heads, n = attention.heads, packed:tokens()
  local mask = ffi.new('float[?]', heads * n * longest)
  for first = 0, longest - 1, width / heads do
    read_columns(attention, width, packed, first, draw, function(row, head, j, value)
      mask[(head * n + row) * longest + j] = value
    end)
  end
  local result = tensor.zeros { heads, n, longest }
  result:write(mask, heads * n * longest)
  return result
end

--- All masks of a forward pass over a packed batch.
---@param model icot.GPT2
---@param packed icot.Batch
---@param draw { seed: integer, step: integer }
---@return table<string, icot.Tensor> "embedding", "h.N.residual", "h.N.mlp" (T, C), of the last block only the rows of
---   targets (R, C); "h.N.attention" (heads, T, L)
function masks.read(model, packed, draw)
  local width, found = model.config.width, {}
  for _, place in ipairs(masks.places(model)) do
    local rows = place.at_targets and packed:targets() or packed:tokens()
    found[place.name] = place.attention and of_attention(place.attention, width, packed, draw)
      or place.layer(tensor.ones { rows, width }, { dropout = draw })
  end
  return found
end

return masks
