--- What a recipe limits a training by: a number of updates, of passes over the examples, of tokens, or of FLOPs.
local limits = {}

--- The fields of `train` that do so; a recipe gives one of them.
limits.NAMES = { 'steps', 'epochs', 'tokens', 'flops' }

--- The field by which a table of `train` limits a training.
---@param train any
---@return string? limit one of NAMES; nil: none, or it is no table
function limits.of(train)
  for _, limit in ipairs(type(train) == 'table' and limits.NAMES or {}) do
    if train[limit] ~= nil then return limit end
  end
end

--- Sets how long a training lasts, whatever its recipe says.
---@param train table `train` of a recipe
---@param limit 'steps'|'epochs'|'tokens'|'flops'
---@param amount number
function limits.set(train, limit, amount)
  for _, name in ipairs(limits.NAMES) do train[name] = nil end
  train[limit] = amount
end

return limits
