--- Classes of layers, and the parameters that layers have.
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local random = require 'icot.engine.random'
local tensor = require 'icot.tensor'

local class = {}

---@class icot.Module
---@field init fun(self, ...) called when a layer is made
---@field forward fun(self, x: icot.Tensor, ...): icot.Tensor called when a layer is applied
local Module = {}

-- The fields of a layer in a fixed order. Lists count from 0 in names, as in PyTorch.
local function walk(owner, prefix, found, seen)
  if seen[owner] then return end
  seen[owner] = true
  for _, name in ipairs(names.after_numbers(owner)) do
    local value = owner[name]
    local path = prefix .. tostring(type(name) == 'number' and name - 1 or name)
    if tensor.is_tensor(value) then
      if not seen[value] and value:requires_grad() then found[#found + 1] = { name = path, tensor = value } end
      seen[value] = true
    elseif type(value) == 'table' then
      walk(value, path .. '.', found, seen)
    end
  end
end

--- All parameters with their names, in a fixed order; one that is used twice (tied) is listed once.
---@return { name: string, tensor: icot.Tensor }[]
function Module:named_parameters()
  local found = {}
  walk(self, '', found, {})
  return found
end

--- All parameters, in the order of `named_parameters`.
---@return icot.Tensor[]
function Module:parameters()
  local list = {}
  for i, each in ipairs(self:named_parameters()) do list[i] = each.tensor end
  return list
end

--- Number of parameters, each element counted.
---@return integer
function Module:count_parameters()
  local count = 0
  for _, parameter in ipairs(self:parameters()) do count = count + parameter:numel() end
  return count
end

--- Frees all parameters.
function Module:free()
  for _, parameter in ipairs(self:parameters()) do parameter:free() end
end

--- A new class of layers.
---@param name string for messages
---@return icot.Module class call it to make a layer
function class.new(name)
  local made = setmetatable({ name = name }, {
    __index = Module,
    __call = function(self, ...)
      local layer = setmetatable({}, self)
      layer:init(...)
      return layer
    end,
  })
  made.__index = made
  made.__call = function(self, ...) return self:forward(...) end
  made.init = function() end
  made.forward = function() errors.raise("nn: the class '%s' has no forward function", name) end
  return made
end

--- A parameter: a tensor of normally distributed numbers that wants a gradient. With a std of 0 no number is drawn.
---@param shape integer[]
---@param options? { std?: number, generator?: icot.Generator }
---@return icot.Tensor
function class.parameter(shape, options)
  options = options or {}
  if options.std == 0 then return tensor.zeros(shape):requires_grad_() end
  local generator = options.generator or random.default_generator()
  return tensor.randn(shape, { std = options.std or 0.02, key = generator:next() }):requires_grad_()
end

return class
