--- How long a run trains where another run decides that, and not its own recipe.
local json = require 'icot.base.json'
local limits = require 'icot.recipe.limits'
local overrides = require 'icot.recipe.overrides'
local values = require 'icot.base.values'

local given_budget = {}

--- What can be given, as results call it, and the field of `train` that limits it.
given_budget.LIMITS = { updates = 'steps', tokens = 'tokens', flops = 'flops' }

--- A run that trains for so long, whatever its recipe says.
---@param run icot.Run as the recipe has it, which it stays
---@param limit 'steps'|'tokens'|'flops'
---@param amount number
---@return icot.Run
function given_budget.give(run, limit, amount)
  local given = values.copy(run)
  limits.set(given.config.train, limit, amount)
  given.config_json = json.encode(given.config)
  given.budget = { limit = limit, amount = amount }
  return given
end

--- A run with what it had been given when a checkpoint of it was written.
---@param run icot.Run
---@param train table `train` of the checkpoint's configuration
---@return icot.Run
function given_budget.restore(run, train)
  for _, limit in pairs(given_budget.LIMITS) do
    if train[limit] then return given_budget.give(run, limit, train[limit]) end
  end
  return run
end

--- Whether settings say how long a run trains: `train.steps`, or `arms.NAME.train.steps` of its arm.
---@param settings icot.Setting[]?
---@param run icot.Run
---@return boolean
function given_budget.is_set_by(settings, run)
  for _, setting in ipairs(settings or {}) do
    local of_arm = setting.keys[1] == 'arms' and setting.keys[2] == run.base_arm
    if limits.of(overrides.changes(setting, of_arm and 3 or 1).train) then return true end
  end
  return false
end

return given_budget
