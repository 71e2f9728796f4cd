--- The arms of a study: what each of them changes, at each point of its grid and with each seed, and which settings
--- from outside it is given.
local errors = require 'icot.base.errors'
local fields = require 'icot.recipe.fields'
local grid = require 'icot.recipe.grid'
local limits = require 'icot.recipe.limits'
local names = require 'icot.base.names'
local overrides = require 'icot.recipe.overrides'
local resolve = require 'icot.recipe.resolve'
local run_paths = require 'icot.results.run_paths'
local values = require 'icot.base.values'

local arms = {}

-- ---- Arms and seeds -----------------------------------------------------------------------------

local function check_seeds(seeds, where)
  local taken = {}
  for _, seed in ipairs(seeds) do
    if taken[seed] then errors.raise('%s: seeds: %d appears twice', where, seed) end
    taken[seed] = true
  end
end

local not_of_an_arm = { seed = true, output = true }

--- Checks the arms of a study. One may change whatever describes a run but its seed, output and the recipe's name.
---@param list table[]
---@param where string for errors
---@return table<string, table> by_name
function arms.check(list, where)
  local by_name = {}
  for i, arm in ipairs(list) do
    local name = arm.name
    if not run_paths.is_name(name) then
      errors.raise('%s: arms[%d].name: got %s, expected a name of letters, digits, - _ .', where, i, values.show(name))
    end
    if by_name[name] then errors.raise('%s: arms[%d].name: there are two arms named %s', where, i, name) end
    for refused in pairs(not_of_an_arm) do
      if arm[refused] ~= nil then errors.raise('%s: arms.%s.%s: an arm cannot set this', where, name, refused) end
    end
    by_name[name] = arm
  end
  return by_name
end

local function arm_change(arm)
  local change = values.copy(arm, 'recipe')
  change.name, change.grid = nil, nil
  return change
end

-- ---- Settings -----------------------------------------------------------------------------------

local of_whole_recipe = {
  name = true, output = true, seed = true, seeds = true, collapse_below = true, grid = true, match = true,
  match_arm = true,
}

---@class icot.SortedSettings
---@field recipe icot.Setting[] of the recipe as a whole
---@field run icot.Setting[] of all runs
---@field arm icot.Setting[] of one arm: `--set arms.NAME.field=value`

--- Sorts settings by what they are for.
---@param settings icot.Setting[]
---@return icot.SortedSettings
function arms.sort_settings(settings)
  local sorted = { recipe = {}, run = {}, arm = {} }
  for _, setting in ipairs(settings) do
    local first = setting.keys[1]
    local scope = first == 'arms' and 'arm'
      or (of_whole_recipe[first] or not fields.recipe[first]) and 'recipe' or 'run'
    table.insert(sorted[scope], setting)
  end
  return sorted
end

--- Makes sure that each setting of an arm names one.
---@param settings icot.Setting[]
---@param by_name table<string, table>
function arms.check_settings(settings, by_name)
  for _, setting in ipairs(settings) do
    local arm, field = setting.keys[2], setting.keys[3]
    if not field then
      errors.raise('%s: expected arms.NAME.FIELD=VALUE', setting.text)
    elseif not by_name[arm] then
      errors.raise('%s: there is no arm %s; %s', setting.text, arm, names.hint(arm, names.sorted(by_name)))
    elseif not_of_an_arm[field] or of_whole_recipe[field] and field ~= 'grid' then
      errors.raise('%s: an arm cannot set this', setting.text)
    end
  end
end

-- ---- Runs ---------------------------------------------------------------------------------------

-- What settings change of an arm: of its grid, or of its runs.
local function settings_of(arm, settings, is_of_grid)
  local list = {}
  for _, setting in ipairs(settings.arm) do
    if setting.keys[2] == arm.name and (setting.keys[3] == 'grid') == is_of_grid then
      list[#list + 1] = { changes = overrides.changes(setting, 3), text = setting.text }
    end
  end
  return list
end

-- The recipe, its arm's own changes over it, then the settings of all runs and those of this arm, and the grid's point.
local function merge_run(base, arm, point, seed, settings)
  local merged = overrides.merge(base, arm_change(arm))
  for _, setting in ipairs(settings.run) do merged = overrides.merge(merged, overrides.changes(setting, 1)) end
  for _, setting in ipairs(settings_of(arm, settings, false)) do merged = overrides.merge(merged, setting.changes) end
  merged = overrides.merge(merged, point.changes)
  merged.seed = seed or merged.seed
  return merged
end

-- The grid of an arm, with what settings say of it.
local function own_grid(arm, settings, where)
  local own = { grid = arm.grid }
  for _, setting in ipairs(settings_of(arm, settings, true)) do own = overrides.merge(own, setting.changes) end
  if own.grid ~= nil and type(own.grid) ~= 'table' then
    errors.raise('%s: grid: got %s, expected a table', where, values.show(own.grid))
  end
  return own.grid
end

-- The points of an arm: those of the recipe's grid and of its own.
local function points_of(study, arm, own, settings, where)
  local axes = grid.axes_of_arm(study.grid, own, arm.name, where)
  grid.refuse_changes(axes, arm_change(arm), where)
  for _, setting in ipairs(settings.run) do grid.refuse_changes(axes, overrides.changes(setting, 1), setting.text) end
  for _, setting in ipairs(settings_of(arm, settings, false)) do
    grid.refuse_changes(axes, setting.changes, setting.text)
  end
  return grid.points(axes)
end

-- What an arm says, by itself, its settings or its grid, of how long it trains: a field of `train`.
local function own_length(arm, own, settings)
  local sources = { arm, own or {} }
  for _, setting in ipairs(settings_of(arm, settings, false)) do sources[#sources + 1] = setting.changes end
  for _, source in ipairs(sources) do
    local limit = limits.of(source.train)
    if limit then return limit end
  end
end

---@class icot.PlannedRun
---@field config table resolved configuration
---@field arm string without the point; the method where a recipe has no arms
---@field point string of the grid; '' where there is none
---@field own_length string? the field of `train` by which the arm itself says how long it trains
---@field where string for errors

--- The configuration of each arm, at each point of its grid, with each seed.
---@param base table the fields of a run
---@param study table the fields that make a study
---@param settings icot.SortedSettings
---@param where string for errors
---@return icot.PlannedRun[]
---raises an error: a field that is unknown, missing or out of range, a seed that is there twice
function arms.plan(base, study, settings, where)
  local list, seeds, planned = study.arms or { {} }, study.seeds or { false }, {}
  check_seeds(seeds, where)
  if #list == 0 or #seeds == 0 then errors.raise('%s: arms and seeds must not be empty', where) end
  for _, arm in ipairs(list) do
    local arm_where = arm.name and ('%s, arm %s'):format(where, arm.name) or where
    local own = own_grid(arm, settings, arm_where)
    local length = own_length(arm, own, settings)
    for _, point in ipairs(points_of(study, arm, own, settings, arm_where)) do
      local run_where = point.name == '' and arm_where or ('%s, grid %s'):format(arm_where, point.name)
      for _, seed in ipairs(seeds) do
        local config = resolve.run(merge_run(base, arm, point, seed, settings), run_where)
        planned[#planned + 1] = {
          config = config, arm = arm.name or config.method, point = point.name, own_length = length,
          where = run_where,
        }
      end
    end
  end
  return planned
end

return arms
