--- `icot fields`: what a recipe may say, what each field takes, and what it means.
---
---   icot fields                     the fields at the top of a recipe
---   icot fields removal             those of one of its tables
---   icot fields optimizer.lr        one field
---   icot fields dataset.graph       the options of a task
---   icot fields schedule.linear     those of a kind of schedule
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local options = require 'icot.base.options'
local recipe_fields = require 'icot.recipe.fields'
local schedule = require 'icot.schedule'
local tasks = require 'icot.data.tasks'
local values = require 'icot.base.values'

local fields_command = {}

local WHERE = 'fields' -- begins a message, after the program's name

--- Describes the command to the argument parser.
---@param command table a command of lua-argparse
function fields_command.configure(command)
  command:argument('what', 'a table or field of a recipe (removal, optimizer.lr), a task (dataset.graph) or a kind of '
    .. 'schedule (schedule.linear); default: the fields at the top'):args('?')
end

-- ---- What there is ------------------------------------------------------------------------------

-- Tables that are open in icot.recipe.fields, by the field that says what they take.
local open = {
  dataset = { chooses = 'task', names = tasks.names, fields_of = function(name) return tasks.find(name).options end },
  schedule = {
    chooses = 'kind', names = function() return names.sorted(schedule.kinds) end,
    fields_of = function(name) return schedule.kinds[name].options end,
  },
}

local function raise_unknown(prefix, name, known)
  local whole = {}
  for i, each in ipairs(known) do whole[i] = prefix .. each end
  errors.raise('%s: there is no field %s; %s', WHERE, prefix .. name, names.hint(prefix .. name, whole))
end

-- The field that a path leads to, and what the names of its own fields begin with.
local function look_up(what)
  if not what:find('^[%w_]+') or what:find('[^%w_.]') or what:find('%.%.') or what:find('%.$') then
    errors.raise('%s: got %s, expected a name such as removal or optimizer.lr', WHERE, values.show(what))
  end
  local field, prefix = { fields = recipe_fields.recipe }, ''
  for name in what:gmatch('[^.]+') do
    local choice = not field.fields and open[prefix:sub(1, -2)]
    if not (field.fields or choice) then errors.raise('%s: %s has no fields of its own', WHERE, prefix:sub(1, -2)) end
    local known = choice and choice.names() or names.sorted(field.fields)
    if not values.is_one_of(name, known) then raise_unknown(prefix, name, known) end
    if choice then
      field = { doc = ("its fields with %s = '%s'"):format(choice.chooses, name), fields = choice.fields_of(name) }
    else
      field, prefix = field.fields[name], prefix .. name .. '.'
    end
  end
  return field, prefix
end

-- ---- What is said of it --------------------------------------------------------------------------

local function say(line)
  print(errors.one_line(line))
end

local function describe(path, field)
  local takes = options.describe(field)
  if field.required then takes = takes .. '; required' end
  if field.default ~= nil then takes = takes .. '; default ' .. values.show(field.default) end
  say(path)
  say('    ' .. takes)
  if field.doc then say('    ' .. field.doc) end
end

-- How to ask for the fields of a field, which are not listed with it.
local function tell_more(what, field)
  local choice = open[what]
  if choice then
    say(('    %s: %s'):format(choice.chooses, table.concat(choice.names(), ', ')))
    say(('    more: icot fields %s.%s'):format(what, choice.names()[1]))
  elseif field.fields then
    say('    more: icot fields ' .. what)
  end
end

local function list(what, prefix, fields)
  for _, name in ipairs(names.sorted(fields)) do
    describe(prefix .. name, fields[name])
    tell_more(what .. name, fields[name])
  end
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error when there is no such field
function fields_command.run(args)
  if not args.what then
    list('', '', recipe_fields.recipe)
    return 0
  end
  local field, prefix = look_up(args.what)
  if field.fields then
    print(('%s: %s\n'):format(args.what, field.doc))
    list(args.what .. '.', prefix, field.fields)
  else
    describe(args.what, field)
    tell_more(args.what, field)
  end
  return 0
end

return fields_command
