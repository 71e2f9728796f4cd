--- Arms of a study that train for as long as another arm did: as many updates, tokens or FLOPs with the same seed. Of
--- an arm that is a chain of steps all of them count, and it is the last that trains for as long as is left.
---
--- Here it is settled which run has to match which; icot.study.matching gives each its share when the other has ended.
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local values = require 'icot.base.values'

local equal_compute = {}

-- The run of the other arm that a run is measured by: with its seed, and at its point of the grid if there are several.
local function reference_of(runs, run, arm)
  local same_point
  for i, other in ipairs(runs) do
    if other.seed == run.seed and other.arm == arm then return i end
    if other.seed == run.seed and other.base_arm == arm and other.point == run.point then same_point = i end
  end
  return same_point
end

-- The numbers of a run and of the steps before it.
local function with_steps(runs, number)
  local numbers = { number }
  for _, step in ipairs(runs[number].steps or {}) do numbers[#numbers + 1] = step end
  return numbers
end

-- An arm that says how long it trains, and is given another length, would not do what its reader expects. Of a chain of
-- steps those before the last may be as long as that; and one point of the arm's own grid may be what is matched.
local function refuse_own_length(study, run, where)
  if not run.own_length or run.steps or run.base_arm == study.match_arm:match('^[^,]*') then return end
  errors.raise('%s: arms.%s.train.%s: match gives the arm as many %s as %s; set it for all arms, in the train of the '
               .. 'recipe, or leave it out', where, run.base_arm, run.own_length, study.match, study.match_arm)
end

--- Notes for each run which one it has to match, and so to wait for.
---@param runs icot.Run[] each that isn't a step of another one gets `match`, and one more to wait for
---@param study { match?: string, match_arm?: string, arms?: table[] } the fields of the recipe
---@param where string for errors
---@param is_kept? boolean the recipe is one that was begun before, which may have arms with a length of their own
---raises an error: one of the fields without the other, an arm that is not there, one with a length of its own.
function equal_compute.link(runs, study, where, is_kept)
  local arm = study.match_arm
  if not study.match and not arm then return end
  if not study.match or not arm then errors.raise('%s: match and match_arm: give both or neither', where) end
  local known = {}
  for _, run in ipairs(runs) do
    if not run.is_step then known[run.arm], known[run.base_arm] = true, true end
  end
  if not known[arm] then
    errors.raise('%s: match_arm: there is no arm %s; %s', where, values.show(arm), names.hint(arm, names.sorted(known)))
  end
  for _, run in ipairs(runs) do
    if run.arm ~= arm and run.base_arm ~= arm and not run.is_step then
      local reference = reference_of(runs, run, arm)
      if not reference then
        errors.raise('%s: match_arm: %s stands for several arms, none of which fits %s; name one of them', where,
                     values.show(arm), values.show(run.arm))
      end
      if not is_kept then refuse_own_length(study, run, where) end
      run.match = { what = study.match, of = with_steps(runs, reference), less = run.steps }
      run.waits_for = run.waits_for or {}
      table.insert(run.waits_for, { number = reference, why = 'match' })
    end
  end
end

return equal_compute
