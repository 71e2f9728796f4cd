--- Everything of icot under one name: `local icot = require 'icot'`.
---
--- Modules are loaded when they are first touched, so a recipe pays only for what it uses.
local core = require 'icot.core'

local icot = { version = core.versions().icot }

return setmetatable(icot, {
  __index = function(self, name)
    local found, module = pcall(require, 'icot.' .. name)
    if not found then
      if tostring(module):match("^module 'icot%." .. name .. "' not found") then return nil end
      error(module, 0)
    end
    rawset(self, name, module)
    return module
  end,
})
