--- The student: a GPT-2 over `question <eos> <eos> #### answer <eos>` whose states at the first <eos> come from
--- elsewhere, each through a projection of its own: state l takes the place of what would enter block l.
local nn = require 'icot.nn'
local Projection = require 'icot.model.distillation.projection'
local rows = require 'icot.tensor.rows'

---@class icot.Student: icot.Module
---@field gpt2 icot.GPT2
---@field projections icot.Projection[] one per layer
local Student = nn.class('Student')

---@param gpt2 icot.GPT2
---@param generator icot.Generator
function Student:init(gpt2, generator)
  local config = gpt2.config
  self.gpt2, self.projections = gpt2, {}
  for layer = 1, config.layers do
    self.projections[layer] = Projection(config.width, config.width, { generator = generator })
  end
end

--- The `enter` (see icot.Context) that puts given states at the first <eos> of each sequence.
---@param packed icot.Batch|icot.BatchPart
---@param given icot.Tensor[] (B, C) for each layer
---@return fun(layer: integer, x: icot.Tensor): icot.Tensor
function Student:reading(packed, given)
  local replace = rows.replacer(packed:tokens(), packed:eos_rows())
  return function(layer, x) return replace(x, self.projections[layer](given[layer])) end
end

--- As GPT2:loss.
---@param packed icot.Batch|icot.BatchPart
---@param given icot.Tensor[] (B, C) for each layer
---@param dropout? { seed: integer, step: integer }
---@param watch? fun(name: string, output: icot.Tensor)
---@return icot.Tensor loss scalar
---@return icot.Tensor logits (R, vocab_size)
function Student:loss(packed, given, dropout, watch)
  return self.gpt2:loss(packed, dropout, watch, self:reading(packed, given))
end

--- Floating-point operations of one training step.
---@param shape icot.BatchShape
---@return number
function Student:step_flops(shape)
  local projections = 0
  for _, each in ipairs(self.projections) do projections = projections + each.weights end
  return self.gpt2:step_flops(shape) + 6 * projections * shape.examples
end

return Student
