--- What a schedule sees of the training, and what it may keep there for its next call.
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local values = require 'icot.base.values'

local schedule_view = {}

local known = {}
for _, name in ipairs {
  'step', 'epoch', 'steps_per_epoch', 'total_steps', 'max_cot', 'removed', 'accuracy', 'valid_loss', 'evaluated_step',
  'loss', 'own',
} do
  known[name] = true
end

local view = {}

-- Called for what isn't there: a field that is not known yet, or one that does not exist.
function view.__index(self, name)
  if known[name] then return nil end
  errors.raise('schedule: at step %d it asked for state.%s, which does not exist; %s', rawget(self, 'step'),
               tostring(name), names.hint(tostring(name), names.sorted(known)))
end

--- A copy of the state, so that a schedule can change nothing but `own`.
---@param state icot.ScheduleState
---@return icot.ScheduleState
function schedule_view.of(state)
  local copy = {}
  for name, value in pairs(state) do copy[name] = value end
  return setmetatable(copy, view)
end

--- What to add to an error of Lua's in a schedule: a word on what may be nil.
---@param message string
---@param state icot.ScheduleState
---@return string hint '' if there is nothing to say
function schedule_view.hint(message, state)
  if state.accuracy or not message:find('nil', 1, true) then return '' end
  return (' (accuracy, valid_loss and evaluated_step are nil before the first validation%s)'):format(
    state.step == 0 and ', loss before the first update' or '')
end

-- ---- state.own ----------------------------------------------------------------------------------

local DEEPEST = 50 -- tables in each other

-- What is wrong with the keys of a table: it is a list without holes, or has names.
local function problem_of_keys(value, path)
  local count, length = 0, #value
  for key in pairs(value) do
    count = count + 1
    local in_list = type(key) == 'number' and key >= 1 and key <= length and key % 1 == 0
    if not in_list and (type(key) ~= 'string' or length > 0) then
      return ('%s has the key %s beside others of another kind'):format(path, values.show(key))
    end
  end
  if length > 0 and count < length then return path .. ' is a list with holes' end
end

local problem_of_table

-- Why a value cannot be kept in a checkpoint; nil if it can. `seen`: the paths of tables that were met before.
local function problem_of(value, path, seen, depth)
  local kind = type(value)
  if kind == 'number' then
    return (value ~= value or math.abs(value) == math.huge) and ('%s is %s'):format(path, value) or nil
  end
  if kind == 'string' or kind == 'boolean' then return nil end
  if kind ~= 'table' then return ('%s is a %s'):format(path, kind) end
  return problem_of_table(value, path, seen, depth)
end

function problem_of_table(value, path, seen, depth)
  if seen[value] then return ('%s is the same table as %s'):format(path, seen[value]) end
  if depth > DEEPEST then return ('state.own has tables in each other more than %d deep'):format(DEEPEST) end
  seen[value] = path
  local problem = problem_of_keys(value, path)
  if problem then return problem end
  local keys = #value == 0 and names.sorted(value) -- those of a list, which may be long, need none
  for i = 1, keys and #keys or #value do
    local key = keys and keys[i] or i
    problem = problem_of(value[key], ('%s.%s'):format(path, tostring(key)), seen, depth + 1)
    if problem then return problem end
  end
end

--- Makes sure that a checkpoint can hold what a schedule keeps.
---@param own table
---@param step integer
---raises an error that names what it cannot hold
function schedule_view.check_own(own, step)
  local problem = type(own) ~= 'table' and 'state.own is a ' .. type(own) or problem_of(own, 'state.own', {}, 1)
  if not problem then return end
  errors.raise('schedule: at step %d %s, which a checkpoint cannot hold; keep numbers, strings, booleans, and tables '
               .. 'of these, either lists or with names as keys', step, problem)
end

return schedule_view
