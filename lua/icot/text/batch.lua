--- Batches: chosen examples with part of their CoT removed, packed end to end without padding.
local ffi = require 'ffi'
local cleanup = require 'icot.base.cleanup'
local core = require 'icot.engine.core'
local tensor = require 'icot.tensor'

local C, check = core.C, core.check
local batch = {}

---@class icot.Batch
---@field raw ffi.cdata* icot_batch *; its arrays are overwritten by the next pack
---@field first integer 0; see icot.BatchPart
---@field first_token integer 0
---@field first_target integer 0
---@field explicit icot.Batch|icot.BatchPart|nil the same examples with all their CoT, where they were asked for
local Batch = { first = 0, first_token = 0, first_target = 0 }
Batch.__index = Batch

--- An empty batch, to be packed again and again.
---@return icot.Batch
function batch.new()
  local out = ffi.new('icot_batch *[1]')
  check(C.icot_batch_create(out))
  return setmetatable({ raw = ffi.gc(out[0], C.icot_batch_free) }, Batch)
end

--- Gives its arrays back; the batch can't be used any more. The collector is only the net below.
function Batch:free()
  if self.explicit then self.explicit:free() end
  C.icot_batch_free(ffi.gc(self.raw, nil))
  self.raw, self.explicit = nil, nil
end

--- Calls a function with a batch that is there for it alone.
---@generic T
---@param body fun(packed: icot.Batch): T
---@return T ...
function batch.with(body)
  local packed = batch.new()
  return cleanup.always(function() packed:free() end, body, packed)
end

--- Ids of consecutive examples, as the core takes them.
---@param start integer the first, counted from 0
---@param n integer
---@return ffi.cdata* ids int64_t[n]
function batch.ids(start, n)
  local ids = ffi.new('int64_t[?]', n)
  for i = 0, n - 1 do ids[i] = start + i end
  return ids
end

local function pack_explicit(self, corpus, ids, n, removal)
  if not removal then return end
  self.explicit = self.explicit or batch.new()
  self.explicit:pack(corpus, ids, n, removal)
end

--- Packs whole examples, for training or teacher-forced evaluation.
---@param corpus icot.Corpus
---@param ids ffi.cdata* int64_t[n], examples of the corpus counted from 0
---@param n integer
---@param removal ffi.cdata* from `icot.text.removal`
---@param explicit? ffi.cdata* one that removes nothing: what it gives becomes `explicit`
function Batch:pack(corpus, ids, n, removal, explicit)
  check(C.icot_batch_pack(self.raw, corpus.handle, ids, n, removal))
  pack_explicit(self, corpus, ids, n, explicit)
end

--- Packs `question <eos>` only, for decoding.
---@param corpus icot.Corpus
---@param ids ffi.cdata* int64_t[n]
---@param n integer
---@param removal ffi.cdata*
---@param explicit? ffi.cdata* as for `pack`
function Batch:prompts(corpus, ids, n, removal, explicit)
  check(C.icot_batch_prompts(self.raw, corpus.handle, ids, n, removal))
  pack_explicit(self, corpus, ids, n, explicit)
end

--- Tokens in all sequences together.
---@return integer
function Batch:tokens() return tonumber(self.raw.n_tokens) end

--- Tokens that have to be predicted.
---@return integer
function Batch:targets() return tonumber(self.raw.n_targets) end

--- CoT tokens left in all sequences together.
---@return integer
function Batch:cot_left() return tonumber(self.raw.cot_left) end

--- Number of examples.
---@return integer
function Batch:examples() return tonumber(self.raw.n_examples) end

---@class icot.BatchShape what the cost of a forward pass depends on
---@field examples integer
---@field tokens integer
---@field targets integer
---@field pairs number sum over the sequences of their squared lengths: what attention costs
---@field prompt_tokens integer of `question <eos>`
---@field prompt_pairs number
---@field pauses integer that follow the first <eos>
---@field explicit icot.BatchShape? of the same examples with all their CoT

--- Its sizes.
---@return icot.BatchShape
function Batch:shape()
  local starts, prompt_tokens, pairs, prompt_pairs, pauses = self.raw.cu_seqlens, 0, 0, 0, 0
  for b, row in ipairs(self:eos_rows()) do
    local prompt = row + 1 - starts[b - 1]
    pauses = pauses + self.raw.pauses[b - 1]
    pairs, prompt_pairs = pairs + (starts[b] - starts[b - 1]) ^ 2, prompt_pairs + prompt ^ 2
    prompt_tokens = prompt_tokens + prompt
  end
  return {
    examples = self:examples(), tokens = self:tokens(), targets = self:targets(), pairs = pairs,
    prompt_tokens = prompt_tokens, prompt_pairs = prompt_pairs, pauses = pauses,
    explicit = self.explicit and self.explicit:shape(),
  }
end

--- The row of the first <eos> of each sequence, counted from the beginning of the batch, or of the part.
---@return integer[]
function Batch:eos_rows()
  local rows = {}
  for b = 1, self:examples() do rows[b] = self.raw.eos_rows[self.first + b - 1] - self.first_token end
  return rows
end

--- The arrays as int32 tensors of the open scope: tokens, positions, cu_seqlens, target_rows, targets.
---@return table<string, icot.Tensor>
function Batch:tensors()
  local raw = self.raw
  local n_tokens, n_targets = tonumber(raw.n_tokens), tonumber(raw.n_targets)
  return {
    tokens = tensor.from_ints(raw.tokens, n_tokens),
    positions = tensor.from_ints(raw.positions, n_tokens),
    cu_seqlens = tensor.from_ints(raw.cu_seqlens, tonumber(raw.n_examples) + 1),
    target_rows = tensor.from_ints(raw.target_rows, n_targets),
    targets = tensor.from_ints(raw.targets, n_targets),
  }
end

-- ---- Parts of a batch ---------------------------------------------------------------------------

---@class icot.BatchPart consecutive sequences of a packed batch, to be computed by themselves
---@field raw ffi.cdata* icot_batch * of the whole
---@field first integer sequences of the batch before this part
---@field n_examples integer
---@field first_token integer tokens of the batch before this part
---@field n_tokens integer
---@field first_target integer targets of the batch before this part
---@field n_targets integer
---@field explicit icot.Batch|icot.BatchPart|nil
local Part = { eos_rows = Batch.eos_rows }
Part.__index = Part

--- Tokens in its sequences together.
---@return integer
function Part:tokens() return self.n_tokens end

--- Tokens that have to be predicted.
---@return integer
function Part:targets() return self.n_targets end

--- Number of examples.
---@return integer
function Part:examples() return self.n_examples end

-- An int32 tensor of n numbers, less `less` each.
local function lowered(numbers, n, less)
  local copy = ffi.new('int32_t[?]', math.max(n, 1))
  for i = 0, n - 1 do copy[i] = numbers[i] - less end
  return tensor.from_ints(copy, n)
end

--- As Batch:tensors; rows and sequences are counted from the beginning of the part.
---@return table<string, icot.Tensor>
function Part:tensors()
  local raw, before = self.raw, self.first_token
  return {
    tokens = tensor.from_ints(raw.tokens + before, self.n_tokens),
    positions = tensor.from_ints(raw.positions + before, self.n_tokens),
    cu_seqlens = lowered(raw.cu_seqlens + self.first, self.n_examples + 1, before),
    target_rows = lowered(raw.target_rows + self.first_target, self.n_targets, before),
    targets = tensor.from_ints(raw.targets + self.first_target, self.n_targets),
  }
end

-- Sequences first … last-1; `first_target` is how many targets those before have.
local function part_of(raw, first, last, first_target)
  local end_token, end_target = raw.cu_seqlens[last], first_target
  while end_target < raw.n_targets and raw.target_rows[end_target] < end_token do end_target = end_target + 1 end
  return setmetatable({
    raw = raw, first = first, n_examples = last - first, first_target = first_target,
    n_targets = end_target - first_target, first_token = raw.cu_seqlens[first],
    n_tokens = end_token - raw.cu_seqlens[first],
  }, Part)
end

--- Its sequences in parts that differ by one sequence at most. They read the arrays of the batch, so that nothing that
--- was drawn when it was packed depends on their number.
---@param count integer at least 1; with fewer sequences than that each is a part
---@return (icot.Batch|icot.BatchPart)[] parts the batch itself, if it is one
function Batch:parts(count)
  local n, list, targets = self:examples(), {}, 0
  count = math.min(count, n)
  if count == 1 then return { self } end
  local explicit = self.explicit and self.explicit:parts(count) or {}
  for k = 1, count do
    list[k] = part_of(self.raw, math.floor((k - 1) * n / count), math.floor(k * n / count), targets)
    list[k].explicit = explicit[k]
    targets = targets + list[k].n_targets
  end
  return list
end

return batch
