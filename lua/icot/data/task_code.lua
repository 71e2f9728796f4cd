--- Guards the functions that the file of a task brings: a mistake there is for whoever wrote the file to mend, so it is
--- told with its place and with what the function was given.
local errors = require 'icot.base.errors'
local interrupt = require 'icot.engine.interrupt'
local values = require 'icot.base.values'

local task_code = {}

--- What a function of a user's file has raised, as it is to be told; what was raised elsewhere keeps its place.
---@param raised any what xpcall's handler is given
---@param fn function
---@return any raised { is_own = true, text = … }: it was raised in the file that fn stands in
function task_code.explain(raised, fn)
  if errors.is_user_error(raised) or interrupt.is_interrupt(raised) then return raised end
  local file = debug.getinfo(fn, 'S').short_src
  if type(raised) ~= 'string' then
    return { is_own = true, text = ('%s: raised %s'):format(file, values.show(raised)) }
  end
  if raised:sub(1, #file + 1) == file .. ':' then return { is_own = true, text = (raised:gsub('\n.*', '')) } end
  return debug.traceback(raised, 2)
end

-- A call as it is written: groups('1 + 2', '3').
local function call_text(name, ...)
  local given = { ... }
  for i, value in ipairs(given) do given[i] = type(value) == 'table' and '…' or values.show(value) end
  return ('%s(%s)'):format(name, table.concat(given, ', '))
end

--- A function that raises a user's error where `fn` raises one of Lua's, or returns what it should not.
---@param fn any
---@param task string whose file it stands in
---@param name string what it is called there
---@param problem_of fun(result: any): string? what is wrong with what it returned
---@return function
---raises an error when `fn` is no function
function task_code.guard(fn, task, name, problem_of)
  if type(fn) ~= 'function' then
    errors.raise('dataset: datasets/%s.lua: %s is %s, expected a function', task, name, values.show(fn))
  end
  return function(...)
    local ok, result = xpcall(fn, function(raised) return task_code.explain(raised, fn) end, ...)
    local problem = ok and problem_of(result)
    if ok and not problem then return result end
    if not ok and not (type(result) == 'table' and result.is_own) then error(result, 0) end
    errors.raise('dataset: datasets/%s.lua: %s: %s', task, call_text(name, ...), problem or result.text)
  end
end

-- ---- What they have to return ---------------------------------------------------------------------

local function problem_of_check(result)
  if result == nil or type(result) == 'string' then return nil end
  return ('returned %s, expected nil or what is wrong'):format(values.show(result))
end

local function is_text_or_number(value)
  return type(value) == 'string' or type(value) == 'number' and value == value
end

local LONGEST_GROUP = 32 -- bytes; a column of the run file has no more

local function problem_of_group(result)
  local is_name = is_text_or_number(result) and #tostring(result) <= LONGEST_GROUP
  return not is_name and ('returned %s, expected a number, or a string of at most %d bytes'):format(
    values.show(result), LONGEST_GROUP) or nil
end

local function problem_of_quantities(result)
  local expected = 'expected a list of { name = …, value = … }: a string, and a string or a number'
  if type(result) ~= 'table' then return ('returned %s, %s'):format(values.show(result), expected) end
  for i, each in ipairs(result) do
    local is_right = type(each) == 'table' and type(each.name) == 'string' and is_text_or_number(each.value)
    if not is_right then return ('number %d of what it returned is %s; %s'):format(i, values.show(each), expected) end
  end
end

local problems = { check = problem_of_check, groups = problem_of_group, quantities = problem_of_quantities }

--- The same functions, guarded, of those that a table has: `check`, `groups`, `quantities`.
---@param given table
---@param task string
---@return table<string, function>
function task_code.guarded(given, task)
  local guarded = {}
  for name, problem_of in pairs(problems) do
    if given[name] ~= nil then guarded[name] = task_code.guard(given[name], task, name, problem_of) end
  end
  return guarded
end

return task_code
