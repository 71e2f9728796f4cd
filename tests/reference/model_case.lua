--- icot's side of model_case.py: what it computes from a case's folder, handed over as tensors inside a scope.
local batch = require 'icot.text.batch'
local corpus = require 'icot.text.corpus'
local ffi = require 'ffi'
local generate = require 'icot.gpt2.generate'
local gpt2 = require 'icot.gpt2'
local json = require 'icot.base.json'
local masks = require 'tests.reference.masks'
local optim = require 'icot.training.optim'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local temporary = require 'tests.lua.support.temporary'
local tensor = require 'icot.tensor'

---@class tests.ModelCase
---@field inputs table inputs.json
---@field model icot.GPT2
---@field optimizer icot.AdamW
local Case = {}
Case.__index = Case

local EOS, SEPARATOR = 0, 1
local DRAW = { seed = 5, step = 7 } -- of dropout; any would do

local function read_json(path)
  return assert(json.decode(temporary.contents(path)))
end

--- Opens a case. Its examples become a corpus, as if a dataset had them.
---@param folder string
---@return tests.ModelCase
function Case.open(folder)
  local inputs, model = read_json(folder .. '/inputs.json'), gpt2.from_pretrained(folder .. '/model')
  local vocabulary = { size = model.config.vocab_size, eos = EOS, separator = SEPARATOR }
  local examples, longest = corpus.new(vocabulary), 0
  for _, each in ipairs(inputs.examples) do
    examples:append(each.question, each.cot, each.answer)
    longest = math.max(longest, #each.cot)
  end
  return setmetatable({
    inputs = inputs, model = model, data = { vocabulary = vocabulary, longest_cot = longest }, examples = examples,
    packed = batch.new(),
    optimizer = optim.AdamW(model:parameters(), { lr = inputs.lr }),
  }, Case)
end

function Case:free()
  self.packed:free()
  self.examples:free()
  self.optimizer:free()
  self.model:free()
end

--- Packs batch `number` (from 0) with the case's removal.
function Case:pack(number)
  local inputs, ids = self.inputs, ffi.new('int64_t[?]', self.inputs.batch)
  for i = 0, inputs.batch - 1 do ids[i] = number * inputs.batch + i end
  local cut = removal.cut(inputs.removal, self.data, inputs.removed)
  self.packed:pack(self.examples, ids, inputs.batch, cut)
  return self.packed
end

-- ---- Parameters as transformers stores them -------------------------------------------------------

-- Of a weight of Conv1D, which is (in, out) there, the transposed.
local function as_stored(name, values)
  return name:find('%.c_%w+%.weight$') and values:transpose(0, 1) or values
end

-- The same numbers that `sampled` of model_case.py takes.
local function sampled(values, largest)
  local numbers, n = values:read()
  local stride, taken = math.ceil(n / largest), {}
  for i = 0, n - 1, stride do taken[#taken + 1] = numbers[i] end
  return tensor.new(taken)
end

local function add_gradients(model, found)
  for _, each in ipairs(model:named_parameters()) do
    found['gradient.' .. each.name] = as_stored(each.name, each.tensor:grad():detach())
  end
end

-- ---- What is computed ---------------------------------------------------------------------------

local function as_list(scalar) return scalar:detach():reshape(1) end

--- Logits, loss and gradients of the first batch.
---@param take fun(found: table<string, icot.Tensor>) called while the tensors are there
function Case:forward(take)
  local model, packed = self.model, self:pack(0)
  scope.run(function()
    local inputs, found = packed:tensors(), {}
    local hidden = model:hidden(inputs.tokens, inputs.positions, { cu_seqlens = inputs.cu_seqlens })
    local loss = model:loss(packed)
    found.logits, found.loss = model:logits(hidden):detach(), as_list(loss)
    loss:backward()
    add_gradients(model, found)
    take(found)
    self.optimizer:zero_grad()
  end)
end

--- The same loss and gradients with dropout, and the masks that it drew.
---@param take fun(found: table<string, icot.Tensor>, masks: table<string, icot.Tensor>)
function Case:dropout(take)
  local model, packed = self.model, self:pack(0)
  masks.set_probability(model, self.inputs.dropout)
  scope.run(function()
    local loss, found = model:loss(packed, DRAW), {}
    found.loss = as_list(loss)
    loss:backward()
    add_gradients(model, found)
    take(found, scope.no_grad(masks.read, model, packed, DRAW))
    self.optimizer:zero_grad()
  end)
  masks.set_probability(model, 0)
end

--- Updates with AdamW and clipping, a batch each; changes the model.
---@param take fun(number: integer, loss: number, norm: number, parameters: table<string, icot.Tensor>)
function Case:updates(take)
  local model, inputs, optimizer = self.model, self.inputs, self.optimizer
  for number = 1, inputs.updates do
    local packed = self:pack(number - 1)
    scope.run(function()
      local loss, found = model:loss(packed), {}
      loss:backward()
      local norm = optimizer:grad_norm()
      optimizer:step { grad_scale = optim.clip_scale(norm, inputs.clip) }
      optimizer:zero_grad()
      for _, each in ipairs(model:hugging_face_tensors()) do
        found['parameter.' .. each.name] = sampled(each.tensor, inputs.largest)
      end
      take(number, loss:item(), norm, found)
    end)
  end
end

--- What the model writes after each prompt, with a cache.
---@return integer[][]
function Case:greedy()
  local prompts = {}
  for i, tokens in ipairs(self.inputs.prompts) do
    prompts[i] = { tokens = tokens, positions = {} }
    for place = 1, #tokens do prompts[i].positions[place] = place - 1 end
  end
  return generate.greedy(self.model, prompts, {
    max_new_tokens = self.inputs.max_new_tokens,
    is_finished = function(written) return written[#written] == EOS end,
  })
end

return Case
