--- AdamW with decoupled weight decay, gradient clipping and learning-rate schedules.
local ffi = require 'ffi'
local core = require 'icot.engine.core'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local C, check = core.C, core.check
local optim = {}

---@class icot.AdamW
---@field parameters icot.Tensor[]
---@field exp_avg icot.Tensor[] first moments
---@field exp_avg_sq icot.Tensor[] second moments
---@field updates integer updates since the first moments were zero
---@field updates_sq integer updates since the second moments were zero
local AdamW = {}
AdamW.__index = AdamW

--- A new optimizer; its moments live until `free`. Make it outside of scopes.
---@param parameters icot.Tensor[]
---@param options? table lr, beta1, beta2, eps, weight_decay; PyTorch's defaults
---@return icot.AdamW
function optim.AdamW(parameters, options)
  options = options or {}
  local settings = ffi.new('icot_adamw_options')
  settings.lr = options.lr or 1e-3
  settings.beta1, settings.beta2 = options.beta1 or 0.9, options.beta2 or 0.999
  settings.eps, settings.weight_decay = options.eps or 1e-8, options.weight_decay or 0.01
  local self = {
    parameters = parameters, settings = settings, updates = 0, updates_sq = 0,
    exp_avg = {}, exp_avg_sq = {}, handles = ffi.new('icot_tensor[?]', math.max(#parameters, 1)),
    states = ffi.new('icot_adamw_state[?]', math.max(#parameters, 1)),
  }
  local moments = scope.all_or_none(function()
    local zeros = {}
    for i, parameter in ipairs(parameters) do
      zeros[2 * i - 1], zeros[2 * i] = tensor.zeros(parameter:shape()), tensor.zeros(parameter:shape())
    end
    return zeros
  end)
  for i, parameter in ipairs(parameters) do
    self.exp_avg[i], self.exp_avg_sq[i], self.handles[i - 1] = moments[2 * i - 1], moments[2 * i], parameter.handle
    self.states[i - 1] = { parameter.handle, self.exp_avg[i].handle, self.exp_avg_sq[i].handle }
  end
  return setmetatable(self, AdamW)
end

--- 2-norm of all gradients together.
---@return number
function AdamW:grad_norm()
  local norm = ffi.new('double[1]')
  check(C.icot_grad_norm(core.engine(), self.handles, #self.parameters, norm))
  return norm[0]
end

--- One update of all parameters from their gradients.
---@param now? { lr?: number, grad_scale?: number } learning rate of this update; factor on all gradients (clipping)
function AdamW:step(now)
  local settings = self.settings
  if now and now.lr then settings.lr = now.lr end
  settings.grad_scale = now and now.grad_scale or 1
  settings.step, settings.step_sq = self.updates + 1, self.updates_sq + 1
  check(C.icot_adamw_step(core.engine(), self.states, #self.parameters, settings)) -- of all parameters, or of none
  self.updates, self.updates_sq = self.updates + 1, self.updates_sq + 1
end

--- Forgets all gradients.
function AdamW:zero_grad()
  check(C.icot_zero_grad(core.engine(), self.handles, #self.parameters))
end

local function set_to_zero(tensors)
  for _, each in ipairs(tensors) do check(C.icot_tensor_fill(core.engine(), each.handle, 0)) end
end

local function multiply(tensors, factor)
  for _, each in ipairs(tensors) do
    local values, n = each:read()
    for i = 0, n - 1 do values[i] = factor * values[i] end
    each:write(values, n)
  end
end

-- What each policy does to the moments. A moment that is zero starts its bias correction anew.
local resets = {
  keep = function() end,
  first = function(self)
    set_to_zero(self.exp_avg)
    self.updates = 0
  end,
  second = function(self)
    set_to_zero(self.exp_avg_sq)
    self.updates_sq = 0
  end,
}

function resets.all(self)
  resets.first(self)
  resets.second(self)
end

function resets.decay(self, factor)
  if factor == 0 then return resets.all(self) end
  multiply(self.exp_avg, factor)
  multiply(self.exp_avg_sq, factor)
end

--- Forgets what the gradients were, all of it by default.
---@param policy? 'all'|'first'|'second'|'decay'|'keep' which become zero; decay: both are multiplied by `factor`
---@param factor? number from 0 to 1
function AdamW:reset(policy, factor)
  resets[policy or 'all'](self, factor)
end

--- Frees the moments.
function AdamW:free()
  for i = 1, #self.parameters do
    self.exp_avg[i]:free()
    self.exp_avg_sq[i]:free()
  end
end

--- The factor that brings a gradient of this norm down to the largest one allowed, as PyTorch's clip_grad_norm_.
---@param norm number
---@param largest number|false false: no clipping
---@return number
function optim.clip_scale(norm, largest)
  if not largest then return 1 end
  return math.min(1, largest / (norm + 1e-6))
end

local decays = {
  constant = function() return 1 end,
  linear = function(progress) return 1 - progress end,
  cosine = function(progress) return 0.5 * (1 + math.cos(math.pi * progress)) end,
}

--- The learning rate as a function of the update.
---@param options table `optimizer` of a recipe: lr, warmup_steps, rewarmup_steps, decay, decay_steps, final_lr
---@param total_steps integer updates of the whole training
---@return fun(step: integer, since_reset: integer?): number step: 1 for the first; since_reset: 1 for the first after
---   an optimizer reset, nil if there was none
function optim.learning_rate(options, total_steps)
  local decay = decays[options.decay]
  local first = math.max(options.warmup_steps, total_steps - (options.decay_steps or total_steps))
  local span = math.max(1, total_steps - first)
  return function(step, since_reset)
    local progress = math.min(1, math.max(0, step - 1 - first) / span)
    local lr = options.lr * (options.final_lr + (1 - options.final_lr) * decay(progress))
    if step <= options.warmup_steps then lr = lr * step / options.warmup_steps end
    if since_reset and since_reset <= options.rewarmup_steps then lr = lr * since_reset / options.rewarmup_steps end
    return lr
  end
end

return optim
