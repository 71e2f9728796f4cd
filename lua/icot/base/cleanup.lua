--- Tidying up after work that may raise an error: what it took is given back, and the error is raised on.
---
---     return cleanup.always(function() file:close() end, function() return file:read('weight') end)
local cleanup = {}

--- Calls a function, and `clean` after it, however that ends.
---@generic T
---@param clean fun()
---@param body fun(...): T
---@param ... any passed on to `body`
---@return T ... what `body` returned
---raises what `body` raises
function cleanup.always(clean, body, ...)
  local function finish(ok, ...)
    clean()
    if not ok then error((...), 0) end
    return ...
  end
  return finish(pcall(body, ...))
end

--- Calls a function, and `clean` after it if it raises an error.
---@generic T
---@param clean fun()
---@param body fun(...): T
---@param ... any passed on to `body`
---@return T ... what `body` returned
---raises what `body` raises
function cleanup.on_error(clean, body, ...)
  local function finish(ok, ...)
    if ok then return ... end
    clean()
    error((...), 0)
  end
  return finish(pcall(body, ...))
end

--- Calls body(thing, …), and frees the thing if that raises an error.
---@generic T
---@param thing { free: fun(self) }
---@param body fun(thing, ...): T
---@param ... any passed on to `body`
---@return T ... what `body` returned
---raises what `body` raises
function cleanup.or_free(thing, body, ...)
  return cleanup.on_error(function() thing:free() end, body, thing, ...)
end

return cleanup
