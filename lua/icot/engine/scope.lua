--- Scopes: tensors made inside one are freed when it closes, at once and whatever the garbage collector does.
local core = require 'icot.engine.core'

local C, check = core.C, core.check
local scope = {}

--- Runs a function in a scope of its own. Tensors made inside are gone afterwards, unless moved out by `:keep()`.
---@generic T
---@param body fun(...): T
---@param ... any passed on to `body`
---@return T ... what `body` returned; tensors among it must have been kept
function scope.run(body, ...)
  local engine = core.engine()
  check(C.icot_scope_open(engine))
  local depth = C.icot_scope_depth(engine)
  local function finish(ok, ...)
    while C.icot_scope_depth(engine) >= depth do check(C.icot_scope_close(engine)) end
    if not ok then error((...), 0) end
    return ...
  end
  return finish(pcall(body, ...))
end

--- Makes tensors that live on in the scope around: all of them, or, if one can't be made, none.
---@param body fun(): icot.Tensor[]
---@return icot.Tensor[] what `body` returned
function scope.all_or_none(body)
  return scope.run(function()
    local made = body()
    for _, each in ipairs(made) do each:keep() end
    return made
  end)
end

--- Runs a function without recording anything for gradients.
---@generic T
---@param body fun(...): T
---@param ... any
---@return T ...
function scope.no_grad(body, ...)
  local engine = core.engine()
  local before = C.icot_grad_enabled(engine)
  C.icot_set_grad_enabled(engine, 0)
  local function finish(ok, ...)
    C.icot_set_grad_enabled(engine, before)
    if not ok then error((...), 0) end
    return ...
  end
  return finish(pcall(body, ...))
end

return scope
