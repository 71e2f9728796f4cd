--- Deferred numbers: asked for now and read later, all at once. A device works them out when their turn comes, while
--- the host continues, and waits for it no more than once.
---
---     local answers = deferred.collect(function()
---       deferred.item(loss)
---       deferred.hits(logits, targets)
---     end)
local ffi = require 'ffi'
local cleanup = require 'icot.base.cleanup'
local core = require 'icot.engine.core'

local C, check = core.C, core.check
local deferred = {}

--- The only element of a float32 tensor.
---@param tensor icot.Tensor
function deferred.item(tensor)
  check(C.icot_ask_item(core.engine(), tensor.handle))
end

--- How many rows of logits have their first largest element where the targets say.
---@param logits icot.Tensor (R, vocab_size)
---@param targets icot.Tensor int32 (R)
function deferred.hits(logits, targets)
  check(C.icot_ask_hits(core.engine(), logits.handle, targets.handle))
end

--- The 2-norm of the gradients of all parameters of an optimizer together.
---@param optimizer icot.AdamW
function deferred.grad_norm(optimizer)
  check(C.icot_ask_grad_norm(core.engine(), optimizer.handles, #optimizer.parameters))
end

local function answers()
  local engine = core.engine()
  local count = tonumber(C.icot_asked(engine))
  local values, list = ffi.new('double[?]', math.max(count, 1)), {}
  check(C.icot_answers(engine, values, count))
  for i = 1, count do list[i] = values[i - 1] end
  return list
end

--- Calls a function that asks, and waits for the answers.
---@param body fun()
---@return number[] in the order in which they were asked for
---raises what `body` raises; nothing is asked for any more then
function deferred.collect(body)
  cleanup.on_error(function() C.icot_forget_asked(core.engine()) end, body)
  return answers()
end

return deferred
