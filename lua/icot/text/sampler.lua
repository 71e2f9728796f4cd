--- Which examples the batch of a step holds: every epoch takes all examples once, in an order of its own.
---
--- A pure function of (seed, step): a resumed run asks for its step and gets the same examples.
local ffi = require 'ffi'
local errors = require 'icot.base.errors'
local random = require 'icot.engine.random'

local sampler = {}

---@class icot.Sampler
---@field steps_per_epoch integer T; the last batch of an epoch may be smaller
local Sampler = {}
Sampler.__index = Sampler

--- A sampler of `size` examples, `batch` at a time.
---@param size integer
---@param batch integer
---@param seed integer
---@return icot.Sampler
function sampler.new(size, batch, seed)
  if size < 1 then errors.raise('training: the dataset has no training examples') end
  return setmetatable({
    size = size, batch = batch, seed = seed, steps_per_epoch = math.ceil(size / batch), epoch = -1,
    ids = ffi.new('int64_t[?]', math.min(batch, size)),
  }, Sampler)
end

--- The examples of a step.
---@param step integer updates done so far; 0 for the first batch
---@return ffi.cdata* ids int64_t[n], overwritten by the next call
---@return integer n
function Sampler:at(step)
  local epoch, within = math.floor(step / self.steps_per_epoch), step % self.steps_per_epoch
  if epoch ~= self.epoch then
    self.order = random.permutation(random.key(self.seed, 'order', epoch), self.size)
    self.epoch = epoch
  end
  local first = within * self.batch
  local n = math.min(self.batch, self.size - first)
  for i = 0, n - 1 do self.ids[i] = self.order[first + i] end
  return self.ids, n
end

return sampler
