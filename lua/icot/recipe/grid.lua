--- Grids: a part of a recipe in which fields have lists of values; each combination of them is one point.
---
---     grid = { optimizer = { lr = { 1e-4, 3e-4 } }, removal = { smoothing = { 4, false } } }    -- four points
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local overrides = require 'icot.recipe.overrides'
local values = require 'icot.base.values'

local grid = {}

---@class icot.GridPoint
---@field name string 'lr=0.0001,smoothing=false'; '' where there is no grid
---@field changes table what it lays over a recipe: { optimizer = { lr = 1e-4 }, … }

---@class icot.GridAxis one field that varies
---@field path string[] { 'optimizer', 'lr' }
---@field place string where a recipe has it, for messages: 'grid.optimizer.lr'
---@field values (number|string|boolean)[]

local refused = { name = '', output = '', seed = '; give seeds beside it', seeds = '; give seeds beside it' }

-- A value as part of a file's name: 0.0001, 5e-5, false, left.
local function name_of_value(value)
  if type(value) ~= 'number' then return (tostring(value):gsub('[^%w_.-]', '_')) end
  return (('%.14g'):format(value):gsub('e([+-])0+', 'e%1'):gsub('e%+', 'e'))
end

local function check_values(list, shown, where)
  local taken = {}
  for _, value in ipairs(list) do
    if type(value) == 'table' or type(value) == 'function' then
      errors.raise('%s: %s: got %s among the values, expected numbers, strings, true or false; arms can have others',
                   where, shown, values.show(value))
    end
    local name = name_of_value(value)
    if taken[name] then errors.raise('%s: %s: two values have the name %s', where, shown, name) end
    taken[name] = true
  end
end

-- Adds the axes below a table to `axes`, by the names of their fields.
local function collect(given, path, where, axes)
  for _, name in ipairs(names.sorted(given)) do
    local value, inner = given[name], { unpack(path) }
    inner[#inner + 1] = tostring(name)
    local shown = 'grid.' .. table.concat(inner, '.')
    if refused[inner[1]] then errors.raise('%s: %s: a grid cannot set this%s', where, shown, refused[inner[1]]) end
    if type(value) ~= 'table' or next(value) == nil or type(name) ~= 'string' then
      errors.raise('%s: %s: got %s, expected a list of values, or a table with fields that have lists', where, shown,
                   values.show(value))
    elseif #value > 0 then
      check_values(value, shown, where)
      axes[#axes + 1] = { path = inner, values = value, place = shown }
    else
      collect(value, inner, where, axes)
    end
  end
end

--- The fields that vary in a grid, by their names.
---@param given table? nil: none
---@param where string for errors
---@return icot.GridAxis[]
---raises an error: something that is no list of plain values; two values that look the same in a name.
function grid.axes(given, where)
  local axes = {}
  if given then collect(given, {}, where, axes) end
  return axes
end

-- The last word of each axis, or all words where two axes end in the same one.
local function short_names(axes)
  local count, short = {}, {}
  for _, axis in ipairs(axes) do
    local last = axis.path[#axis.path]
    count[last] = (count[last] or 0) + 1
  end
  for i, axis in ipairs(axes) do
    local last = axis.path[#axis.path]
    short[i] = count[last] > 1 and table.concat(axis.path, '.') or last
  end
  return short
end

--- All combinations; the last axis varies fastest.
---@param axes icot.GridAxis[]
---@return icot.GridPoint[]
function grid.points(axes)
  local short, points = short_names(axes), { { name = '', changes = {} } }
  for i, axis in ipairs(axes) do
    local more = {}
    for _, point in ipairs(points) do
      for _, value in ipairs(axis.values) do
        local name = ('%s=%s'):format(short[i], name_of_value(value))
        more[#more + 1] = {
          name = point.name == '' and name or point.name .. ',' .. name,
          changes = overrides.merge(point.changes, overrides.changes({ keys = axis.path, value = value }, 1)),
        }
      end
    end
    points = more
  end
  return points
end

local function sets(changes, path)
  for _, key in ipairs(path) do
    changes = changes[key]
    if changes == nil then return false end
    if type(changes) ~= 'table' or changes == overrides.unset then return true end
  end
  return true
end

--- The axes of an arm: those of the recipe's grid, and of its own, which takes their place.
---@param shared table? the recipe's grid
---@param own table? the arm's
---@param arm string its name
---@param where string for errors
---@return icot.GridAxis[]
---raises an error as `axes` does
function grid.axes_of_arm(shared, own, arm, where)
  local axes = grid.axes(own and overrides.merge(shared or {}, own) or shared, where)
  for _, axis in ipairs(axes) do
    if own and sets(own, axis.path) then axis.place = ('arms.%s.%s'):format(arm, axis.place) end
  end
  return axes
end

--- Refuses changes of a field that the grid varies, which it would undo.
---@param axes icot.GridAxis[]
---@param changes table laid over the recipe before the grid
---@param where string for errors: what makes the change
function grid.refuse_changes(axes, changes, where)
  for _, axis in ipairs(axes) do
    if sets(changes, axis.path) then
      errors.raise('%s: %s: the grid varies this field; change %s', where, table.concat(axis.path, '.'), axis.place)
    end
  end
end

return grid
