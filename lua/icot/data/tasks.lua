--- Tasks: the files datasets/TASK.lua, each of which describes options and makes a dataset of them.
---
--- A task's file returns { options = …, load = …, check = …, quantities = … }:
---   options   which options it takes, as icot.base.options describes them
---   load      function(options, wanted) -> icot.Dataset. `wanted`, if given, names the one split
---             that is needed; the others may stay empty.
---   check     optional: function(question, cot, answer, options) -> nil, or what is wrong with an example
---   quantities  optional: function(question, cot, answer, options) -> what `icot probe` may look for in an example
local cleanup = require 'icot.base.cleanup'
local dataset = require 'icot.data.dataset'
local errors = require 'icot.base.errors'
local lfs = require 'lfs'
local methods = require 'icot.schedule.methods'
local names = require 'icot.base.names'
local options = require 'icot.base.options'
local removal = require 'icot.text.removal'
local task_code = require 'icot.data.task_code'
local task_file = require 'icot.data.task_file'
local values = require 'icot.base.values'

local tasks = {}

---@class icot.Task
---@field options table<string, table>
---@field load fun(options: table, wanted?: string): icot.Dataset
---@field check? fun(question: string, cot: string, answer: string, options: table): string?
---@field quantities? fun(question: string, cot: string, answer: string, options: table): icot.Quantity[]

---@class icot.Quantity something that is worked out on the way to an answer
---@field name string the same in all examples that have it, no two of an example alike; up to the first comma it
---   names a group of quantities: 'running sum 2, digit 3'
---@field value string what a probe has to tell

--- Names of the tasks there are: files datasets/TASK.lua on Lua's search path.
---@return string[] sorted
function tasks.names()
  local found = {}
  for folder in package.path:gmatch('([^;]*)%?%.lua') do
    local datasets = folder .. 'datasets'
    if lfs.attributes(datasets, 'mode') == 'directory' then
      for file in lfs.dir(datasets) do
        local name = file:match('^([%w_]+)%.lua$')
        if name then found[name] = true end
      end
    end
  end
  return names.sorted(found)
end

--- The file of a task.
---@param name string
---@param where? string what is being read, named at the start of an error: 'recipe mult.lua'
---@param path? string the table that the name was given in, with a dot at its end: 'dataset.'
---@return icot.Task
---raises an error when there is no such task, or its file is broken
function tasks.find(name, where, path)
  local place = (where or 'dataset') .. ': ' .. (path or '') .. 'task'
  if type(name) ~= 'string' or not name:find('^[%w_]+$') then
    errors.raise('%s: got %s, expected the name of a file in datasets/', place, values.show(name))
  end
  local module = 'datasets.' .. name
  if not package.loaded[module] and not package.searchpath(module, package.path) then
    errors.raise('%s: there is no datasets/%s.lua; %s', place, name, names.hint(name, tasks.names()))
  end
  local ok, found = pcall(require, module)
  if not ok then
    if errors.is_user_error(found) then error(found, 0) end
    local message = tostring(found):gsub("^error loading module .- from file .-:\n%s*", '') -- names the file twice
    errors.raise('%s: %s', place, (message:gsub('\n.*', '')))
  end
  local task = task_file.check(found, name, place)
  return setmetatable(task_code.guarded(task, name), { __index = task })
end

--- Checks the description of a dataset and fills in what its task takes by default.
---@param given table `task` and the options of that task
---@param where? string what is being read, named at the start of an error: 'recipe mult.lua'
---@param path? string the table that `given` lies in, with a dot at its end: 'dataset.'
---@return table checked a copy
---raises an error for an unknown task, an unknown option or a value out of range
function tasks.check(given, where, path)
  local task, fields = tasks.find(given.task, where, path), {}
  for name, value in pairs(given) do
    if name ~= 'task' then fields[name] = value end
  end
  local checked = options.check(task.options, fields, where or 'dataset', path)
  checked.task = given.task
  return checked
end

local function call_load(task, checked, wanted)
  local ok, result = xpcall(task.load, function(raised) return task_code.explain(raised, task.load) end, checked,
                            wanted)
  if ok then return result end
  if type(result) == 'table' and result.is_own then errors.raise('dataset: %s', result.text) end
  error(result, 0)
end

-- Guards what tells groups of examples apart, and tries it, so that a mistake shows before a training.
local function guard_groups(data, task)
  if data.groups == nil then return end
  data.groups = task_code.guarded({ groups = data.groups }, task).groups
  for _, split in ipairs(data:splits()) do
    if data[split]:size() > 0 then
      local question, _, answer = data[split]:texts(0)
      return data.groups(question, answer)
    end
  end
end

--- Loads a dataset.
---@param given table `task` and the options of that task, as in a recipe's `dataset`
---@param wanted? string the only split that is needed; all by default
---@return icot.Dataset
---raises an error as `check` does, or when the data cannot be had
function tasks.load(given, wanted)
  local data = call_load(tasks.find(given.task), tasks.check(given), wanted)
  if not dataset.is_dataset(data) then
    errors.raise('dataset: datasets/%s.lua: load returned %s, expected a dataset, as made_up.load makes it', given.task,
                 values.show(data))
  end
  return cleanup.or_free(data, function()
    guard_groups(data, given.task)
    return data
  end)
end

--- Loads the dataset of a run, as the run uses it: what its schedule removes is counted, and the vocabulary of a method
--- with pauses has a token for them, which no example has.
---@param config table the run's resolved configuration
---@return icot.Dataset
---raises an error as `load` does, and when that token is there already
function tasks.load_for_run(config)
  local data = tasks.load(config.dataset)
  cleanup.or_free(data, function()
    data:count_in(config.removal.unit)
    if methods.has_pauses(config.method) then
      data.vocabulary = data.vocabulary:with_pause()
      if config.removal.thoughts then
        data:make_room(function(corpus, index)
          return removal.longest_with_thoughts(config.removal, data, corpus:ends(index, config.removal.unit))
        end)
      end
    end
  end)
  return data
end

return tasks
