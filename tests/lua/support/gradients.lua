--- Compares gradients with finite differences.
local ffi = require 'ffi'
local scope = require 'icot.engine.scope'

local gradients = {}

local STEP = 1e-3

-- The loss where all of a parameter is moved along a direction.
local function loss_at(loss_of, parameter, values, n, direction, step)
  local moved = ffi.new('float[?]', n)
  for i = 0, n - 1 do moved[i] = values[i] + step * direction[i] end
  parameter:write(moved, n)
  return scope.run(scope.no_grad, function() return loss_of():item() end)
end

--- Makes sure that, along its gradient, each parameter changes the loss as the gradient says.
---@param named { name: string, tensor: icot.Tensor }[] parameters without gradients yet
---@param loss_of fun(): icot.Tensor called in a scope
---@param unreached? table<string, boolean> parameters that must have no gradient
function gradients.check(named, loss_of, unreached)
  local found = {}
  scope.run(function()
    loss_of():backward()
    for i, each in ipairs(named) do
      local gradient = each.tensor:grad()
      assert((gradient == nil) == (unreached ~= nil and unreached[each.name] == true), each.name)
      found[i] = gradient and { gradient:read() }
    end
  end)
  for i, each in ipairs(named) do
    local gradient, n = unpack(found[i] or { nil, 0 })
    local norm = 0
    for k = 0, n - 1 do norm = norm + gradient[k] ^ 2 end
    norm = math.sqrt(norm)
    if norm > 0 then
      for k = 0, n - 1 do gradient[k] = gradient[k] / norm end
      local values = each.tensor:read()
      local up = loss_at(loss_of, each.tensor, values, n, gradient, STEP)
      local down = loss_at(loss_of, each.tensor, values, n, gradient, -STEP)
      each.tensor:write(values, n)
      local slope = (up - down) / (2 * STEP)
      local is_near = math.abs(slope - norm) < 5e-4 + 0.02 * norm
      assert(is_near, ('%s: the slope is %g, but the gradient %g'):format(each.name, slope, norm))
    end
  end
end

return gradients
