--- The hidden states of a model: its residual stream after the embeddings (layer 0) and after each block (1, 2, …).
--- (icot.model.distillation.states counts what enters a block by that block: its state l is layer l - 1 here.)
local batch = require 'icot.text.batch'
local ffi = require 'ffi'
local interrupt = require 'icot.engine.interrupt'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local states = {}

local BATCH = 128 -- sequences in one forward pass

--- Runs a model over a packed batch, and shows its states, layer by layer. To be called in a scope.
---@param model icot.Model of a single GPT-2
---@param packed icot.Batch
---@param see fun(layer: integer, x: icot.Tensor) x: (T, width), gone when the scope closes
function states.each(model, packed, see)
  local inputs, thinking = packed:tensors(), model.has_thoughts and model:thinking(packed) or nil
  model:decoding():hidden(inputs.tokens, inputs.positions, {
    cu_seqlens = inputs.cu_seqlens,
    enter = function(layer, x)
      if thinking then x = thinking(layer, x) end
      if layer == 1 then see(0, x) end -- layer 0 is what enters the first block: thoughts, too
      return x
    end,
    watch = function(_, x, layer)
      if (layer or 0) > 0 then see(layer, x) end
    end,
  })
end

---@class icot.probe.Sample examples as a model is shown them
---@field corpus icot.Corpus
---@field n integer this many, the first ones
---@field cut ffi.cdata* icot_removal
---@field shapes icot.probe.Shape[] (n)

-- For each place the rows of a packed batch, whose first sequence is example `start`, that stand there.
local function rows_of(packed, sample, start, names)
  local n, starts, rows = tonumber(packed.raw.n_examples), packed.raw.cu_seqlens, {}
  for p, name in ipairs(names) do
    local numbers = ffi.new('int32_t[?]', n)
    for b = 0, n - 1 do numbers[b] = starts[b] + sample.shapes[start + b + 1].position[name] end
    rows[p] = tensor.from_ints(numbers, n)
  end
  return rows
end

-- Writes rows of x (T, width) to rows start … of `into` (n, width).
local function copy_rows(x, rows, into, start)
  local found = x:embedding(rows)
  into:narrow(0, start, found:size(0)):write(found:read())
end

local function collect_batch(model, packed, sample, start, names, collected)
  local rows = rows_of(packed, sample, start, names)
  states.each(model, packed, function(layer, x)
    for p, into in ipairs(collected[layer] or {}) do copy_rows(x, rows[p], into, start) end
  end)
end

--- The states of all examples of a sample at some places.
---@param model icot.Model of a single GPT-2
---@param sample icot.probe.Sample
---@param names string[] places that all its shapes have
---@param first integer layer
---@param last integer layer
---@return table<integer, icot.Tensor[]> by layer: one (n, width) per place
---raises what icot.engine.interrupt does when the user ends the program.
function states.collect(model, sample, names, first, last)
  local collected, width = {}, model:decoding().config.width
  for layer = first, last do
    collected[layer] = {}
    for p = 1, #names do collected[layer][p] = tensor.zeros { sample.n, width } end
  end
  batch.with(function(packed)
    for start = 0, sample.n - 1, BATCH do
      interrupt.check()
      local n = math.min(BATCH, sample.n - start)
      packed:pack(sample.corpus, batch.ids(start, n), n, sample.cut)
      scope.run(scope.no_grad, collect_batch, model, packed, sample, start, names, collected)
    end
  end)
  return collected
end

return states
