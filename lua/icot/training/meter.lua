--- Counts what training costs and how it goes: over the interval since the last row, and in total.
local core = require 'icot.engine.core'
local values = require 'icot.base.values'

local C = core.C
local meter = {}

---@class icot.Meter
local Meter = {}
Meter.__index = Meter

local function empty_interval()
  return { updates = 0, loss = 0, targets = 0, hits = 0, grad_norm = 0, optimizer_reset = false }
end

--- A meter at zero, its clock not started.
---@return icot.Meter
function meter.new()
  return setmetatable({ tokens = 0, flops = 0, paused = 0, current = empty_interval() }, Meter)
end

--- Starts the clock, which continues from where `restore` put it.
function Meter:start()
  self.started = C.icot_seconds() - (self.seconds_before or 0)
  self.speed_mark = { tokens = self.tokens, seconds = self:seconds() }
end

--- All that it has counted, for a checkpoint.
---@return table
function Meter:state()
  return {
    tokens = self.tokens, flops = self.flops,
    seconds = self.started and self:seconds() or self.seconds_before or 0,
    current = values.copy(self.current),
  }
end

--- Goes on counting from what `state` gave; to be called before `start`.
---@param saved table
function Meter:restore(saved)
  self.tokens, self.flops, self.seconds_before = saved.tokens, saved.flops, saved.seconds
  self.current = values.copy(saved.current)
end

--- Leaves out time that was spent on something else than training; before `start` none counts anyway.
---@param seconds number
function Meter:pause(seconds)
  if self.started then self.paused = self.paused + seconds end
end

--- Seconds of training since `start`.
---@return number
function Meter:seconds()
  return C.icot_seconds() - self.started - self.paused
end

--- Adds one update.
---@param batch icot.Batch
---@param model icot.Model
---@param measured { loss: number, hits: integer, grad_norm: number } hits: NaN where no tokens are predicted
---@param lr number
function Meter:add(batch, model, measured, lr)
  local current, tokens, targets = self.current, batch:tokens(), batch:targets()
  self.tokens = self.tokens + tokens
  self.flops = self.flops + model:step_flops(batch:shape())
  current.updates = current.updates + 1
  current.loss = current.loss + measured.loss * targets
  current.targets, current.hits = current.targets + targets, current.hits + measured.hits
  current.grad_norm = current.grad_norm + measured.grad_norm
  current.lr = lr
end

--- Notes that the optimizer's moments were reset.
function Meter:note_reset()
  self.current.optimizer_reset = true
end

--- Whether there was no update since the last interval.
---@return boolean
function Meter:is_empty()
  return self.current.updates == 0
end

--- Means since the last call, and starts the next interval.
---@return { loss: number, token_accuracy: number, grad_norm: number, lr: number, optimizer_reset: boolean }
function Meter:interval()
  local current = self.current
  self.current = empty_interval()
  return {
    loss = current.loss / current.targets, token_accuracy = current.hits / current.targets,
    grad_norm = current.grad_norm / current.updates, lr = current.lr, optimizer_reset = current.optimizer_reset,
  }
end

--- What the whole training has cost so far.
---@return { tokens: integer, flops: number, seconds: number }
function Meter:totals()
  return { tokens = self.tokens, flops = self.flops, seconds = self:seconds() }
end

--- Mean speed since the last call, or since the start.
---@return number
function Meter:tokens_per_second()
  local seconds = self:seconds()
  local since = self.speed_mark
  if seconds - since.seconds >= 1 or not self.speed then
    self.speed = (self.tokens - since.tokens) / math.max(seconds - since.seconds, 1e-9)
    self.speed_mark = { tokens = self.tokens, seconds = seconds }
  end
  return self.speed
end

return meter
