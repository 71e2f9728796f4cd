--- A GPT-2 that reasons in continuous thoughts (Coconut; Hao et al. 2024): where CoT was removed, its own last hidden
--- state goes in again, in the place of a token, a number of times.
---
--- Pauses in a packed batch say where thoughts are (`removal.thoughts`); their embedding is not read.
local Thinking = require 'icot.model.coconut.thinking'
local passes = require 'icot.model.coconut.passes'
local rows = require 'icot.tensor.rows'
local scope = require 'icot.engine.scope'

---@class icot.CoconutModel: icot.Model
---@field gpt2 icot.GPT2
---@field has_thoughts true
local Coconut = { has_thoughts = true }
Coconut.__index = Coconut

--- A model around a GPT-2, which it owns from then on.
---@param gpt2 icot.GPT2
---@return icot.CoconutModel
function Coconut.new(gpt2)
  return setmetatable({ gpt2 = gpt2 }, Coconut)
end

for _, name in ipairs { 'named_parameters', 'parameters', 'count_parameters', 'free', 'hugging_face_tensors' } do
  Coconut[name] = function(self) return self.gpt2[name](self.gpt2) end
end

--- That of the GPT-2, and what Hugging Face has no place for: that it thinks (model_file.has_thoughts).
---@return table
function Coconut:hugging_face_config()
  local config = self.gpt2:hugging_face_config()
  config.icot = { has_thoughts = true }
  return config
end

--- As GPT2:loss_terms.
---@param batch icot.Batch|icot.BatchPart
---@return integer
function Coconut:loss_terms(batch)
  return self.gpt2:loss_terms(batch)
end

-- Rows of a pass that predict a target.
local function target_rows(packed, pass)
  local place_of, wanted = {}, {}
  for i, row in ipairs(pass.rows) do place_of[row] = i - 1 end
  for t = 0, packed:targets() - 1 do
    wanted[t + 1] = place_of[packed.raw.target_rows[packed.first_target + t] - packed.first_token]
  end
  return wanted
end

--- As GPT2:loss, with the thoughts that precede what is predicted. Gradients flow through all of them.
---@param packed icot.Batch|icot.BatchPart
---@param dropout? { seed: integer, step: integer } while training
---@param watch? fun(name: string, output: icot.Tensor)
---@return icot.Tensor loss scalar
---@return icot.Tensor logits (R, vocab_size)
---@return icot.Tensor targets int32 (R)
function Coconut:loss(packed, dropout, watch)
  local list = passes.of(packed)
  if #list == 1 then return self.gpt2:loss(packed, dropout, watch) end
  local thinking, last, targets = Thinking.new(self.gpt2, packed, dropout, watch), list[#list], packed:tensors().targets
  thinking:think(list)
  local hidden = thinking:compute(last, target_rows(packed, last), packed.first_target)
  local logits = self.gpt2:logits(hidden)
  return logits:cross_entropy(targets), logits, targets
end

--- The network that writes answers to prompts; icot.gpt2.generate has it think before that.
---@return icot.GPT2
function Coconut:decoding()
  return self.gpt2
end

--- The `enter` (icot.Context) for one pass of the GPT-2 over whole sequences: it is given the thoughts that it has.
---@param packed icot.Batch
---@return (fun(layer: integer, x: icot.Tensor): icot.Tensor)? enter nil: there are no thoughts
function Coconut:thinking(packed)
  local list, at, from = passes.of(packed), {}, {}
  for _, pass in ipairs(list) do
    for _, thought in ipairs(pass.thoughts) do
      at[#at + 1], from[#from + 1] = pass.rows[thought.row + 1], thought.state
    end
  end
  if #at == 0 then return nil end
  local thinking = Thinking.new(self.gpt2, packed)
  scope.no_grad(thinking.think, thinking, list)
  return rows.entering(packed:tokens(), at, thinking:thoughts(at, from))
end

--- Floating-point operations of one training step, each row counted once. Those whose states become thoughts pass
--- through all of the last block, too (9 of its 12·width² weights); see GPT2:training_flops.
---@param shape icot.BatchShape
---@return number
function Coconut:step_flops(shape)
  return self.gpt2:step_flops(shape) + 6 * 9 * self.gpt2.config.width ^ 2 * shape.pauses
end

return Coconut
