--- Two linear layers with GELU between, in → 4·width → width: Projection(in, width, { generator }). What a state goes
--- through on its way from one network to another.
local nn = require 'icot.nn'

---@class icot.Projection: icot.Module
local Projection = nn.class('Projection')

function Projection:init(input, width, options)
  self.c_fc, self.c_proj = nn.Linear(input, 4 * width, options), nn.Linear(4 * width, width, options)
  self.weights = 4 * width * (input + width)
end

---@param x icot.Tensor (B, in)
---@return icot.Tensor (B, width)
function Projection:forward(x)
  return self.c_proj(self.c_fc(x):gelu())
end

return Projection
