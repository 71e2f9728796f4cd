--- Numbers that are asked for now and read later, all at once: a device works them out when their turn comes, while the
--- host goes on, and waits for it no more than once.
---
---     asked.item(loss)
---     asked.hits(logits, targets)
---     local loss_value, hits = unpack(asked.answers())
local ffi = require 'ffi'
local core = require 'icot.core'

local C, check = core.C, core.check
local asked = {}

local count = 0 -- of what was asked for since the answers were read

local function ask(question, ...)
  check(question(core.engine(), ...))
  count = count + 1
end

--- The only element of a float32 tensor.
---@param tensor icot.Tensor
function asked.item(tensor)
  ask(C.icot_ask_item, tensor.handle)
end

--- How many rows of logits have their first largest element where the targets say.
---@param logits icot.Tensor (R, vocab_size)
---@param targets icot.Tensor int32 (R)
function asked.hits(logits, targets)
  ask(C.icot_ask_hits, logits.handle, targets.handle)
end

--- The 2-norm of the gradients of all parameters of an optimizer together.
---@param optimizer icot.AdamW
function asked.grad_norm(optimizer)
  ask(C.icot_ask_grad_norm, optimizer.handles, #optimizer.parameters)
end

--- Waits for all of them.
---@return number[] in the order in which they were asked for
function asked.answers()
  local values, list = ffi.new('double[?]', math.max(count, 1)), {}
  local wanted = count
  count = 0
  check(C.icot_answers(core.engine(), values, wanted))
  for i = 1, wanted do list[i] = values[i - 1] end
  return list
end

--- Nobody will read them: what asked for them has failed.
function asked.forget()
  count = 0
  C.icot_forget_asked(core.engine())
end

return asked
