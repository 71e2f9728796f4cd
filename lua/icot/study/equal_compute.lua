--- Arms of a study that train for as long as another arm did: as many updates, tokens or FLOPs with the same seed.
local arm_summary = require 'icot.study.arm_summary'
local errors = require 'icot.errors'
local json = require 'icot.json'
local names = require 'icot.names'
local options = require 'icot.options'

local equal_compute = {}

--- The field of `train` that limits what is matched.
local limits = { updates = 'steps', tokens = 'tokens', flops = 'flops' }
local alternatives = { 'steps', 'epochs', 'tokens', 'flops' }

-- The run of the other arm that a run is measured by: with its seed, and at its point of the grid if there are several.
local function reference_of(runs, run, arm)
  local same_point
  for i, other in ipairs(runs) do
    if other.seed == run.seed and other.arm == arm then return i end
    if other.seed == run.seed and other.base_arm == arm and other.point == run.point then same_point = i end
  end
  return same_point
end

--- Notes for each run which one it has to wait for.
---@param runs icot.Run[] each gets `waits_for`, the number of another one, and `match`
---@param study { match?: string, match_arm?: string } the fields of the recipe
---@param where string for errors
--- Errors: one of the fields without the other, an arm that is not there.
function equal_compute.link(runs, study, where)
  local arm = study.match_arm
  if not study.match and not arm then return end
  if not study.match or not arm then errors.raise('%s: match and match_arm: give both, or none', where) end
  local known = {}
  for _, run in ipairs(runs) do known[run.arm], known[run.base_arm] = true, true end
  if not known[arm] then
    errors.raise('%s: match_arm: there is no arm %s; %s', where, options.show(arm), names.hint(arm, names.of(known)))
  end
  for _, run in ipairs(runs) do
    if run.arm ~= arm and run.base_arm ~= arm then
      run.match, run.waits_for = study.match, reference_of(runs, run, arm)
      if not run.waits_for then
        errors.raise('%s: match_arm: %s is several arms, none of them as %s; name one', where, options.show(arm),
                     options.show(run.arm))
      end
    end
  end
end

--- Sets how long a run trains, whatever its recipe says.
---@param run icot.Run
---@param limit 'steps'|'tokens'|'flops'
---@param amount number
function equal_compute.set(run, limit, amount)
  for _, name in ipairs(alternatives) do run.config.train[name] = nil end
  run.config.train[limit] = amount
  run.config_json = json.encode(run.config)
  run.budget = { limit = limit, amount = amount }
end

--- Gives a run what the one that it waited for has used.
---@param run icot.Run
---@param reference icot.Run
---@param result icot.Result of the reference
---@return string? problem why there is nothing to give
function equal_compute.give(run, reference, result)
  if not arm_summary.has_ended(result) then
    return ('not started: it was to match the %s of %s seed %d, which %s'):format(
      run.match, reference.arm, reference.seed, result.status == 'failed' and 'failed' or 'was interrupted')
  end
  equal_compute.set(run, limits[run.match], result[run.match])
end

--- Gives a run what it had been given when a checkpoint of it was written.
---@param run icot.Run
---@param train table `train` of the checkpoint's configuration
function equal_compute.restore(run, train)
  for _, limit in pairs(limits) do
    if train[limit] then equal_compute.set(run, limit, train[limit]) end
  end
  run.waits_for = nil
end

return equal_compute
