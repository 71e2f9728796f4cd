--- Datasets: finds the file datasets/TASK.lua of a task, checks the options and loads its examples.
---
--- A task's file returns { options = …, load = …, check = …, quantities = … }:
---   options   which options it takes, as icot.options describes them
---   load      function(options, wanted) -> icot.Dataset. `wanted`, if given, names the one split
---             that is needed; the others may stay empty.
---   check     optional: function(question, cot, answer, options) -> nil, or what is wrong with an example
---   quantities  optional: function(question, cot, answer, options) -> what `icot probe` may look for in an example
local cleanup = require 'icot.cleanup'
local lfs = require 'lfs'
local errors = require 'icot.errors'
local methods = require 'icot.methods'
local names = require 'icot.names'
local options = require 'icot.options'

local dataset = {}

---@class icot.Task
---@field options table<string, table>
---@field load fun(options: table, wanted?: string): icot.Dataset
---@field check? fun(question: string, cot: string, answer: string, options: table): string?
---@field quantities? fun(question: string, cot: string, answer: string, options: table): icot.Quantity[]

---@class icot.Quantity something that is worked out on the way to an answer
---@field name string the same in all examples that have it, no two of an example alike; up to the first comma it
---   names a group of quantities: 'running sum 2, digit 3'
---@field value string what a probe has to tell

---@class icot.Dataset
---@field task string
---@field vocabulary icot.Vocabulary
---@field train icot.Corpus a split that wasn't asked for is an empty corpus
---@field valid icot.Corpus
---@field test icot.Corpus
---@field ood string[] names of more splits, out of the distribution of the training examples; corpora like the others
---@field notes? string[] what the user should know about the examples
---@field same_answer? fun(prediction: string, target: string): boolean beside answers that are equal token by token
---@field groups? fun(question: string, answer: string): string|number the group that an example belongs to, such as how
---   hard it is, in at most 32 bytes; evaluations tell their accuracies apart
---@field grouped_by? string what the groups are, in words
---@field steps_of? function where the steps of a CoT that comes from a file end; see icot.text_files
---@field max_cot integer longest CoT of train, valid and test, in what a schedule removes: tokens, or steps
---@field longest_cot integer of any split
---@field longest_cots table<string, integer> longest CoT of each split
---@field max_answer integer longest answer of all splits, in tokens
---@field max_length integer longest sequence of all splits, in tokens with its four separators
local Dataset = {}
Dataset.__index = Dataset

dataset.splits = { 'train', 'valid', 'test' }

--- Separators in the sequence of an example: `question <eos> cot <eos> #### answer <eos>`.
dataset.SEPARATORS = 4

-- Lengths of the longest CoT, answer and sequence of a corpus.
local function measure(corpus)
  local max_cot, max_answer, max_length = 0, 0, 0
  for i = 0, corpus:size() - 1 do
    local question, cot, answer = corpus:lengths(i)
    max_cot, max_answer = math.max(max_cot, cot), math.max(max_answer, answer)
    max_length = math.max(max_length, question + cot + answer + dataset.SEPARATORS)
  end
  return max_cot, max_answer, max_length
end

-- Takes in the lengths of a split that is there.
local function take_in(self, split)
  local max_cot, max_answer, max_length = measure(self[split])
  self.longest_cots[split], self.longest_cot = max_cot, math.max(self.longest_cot, max_cot)
  if not self:is_ood(split) then self.max_cot = math.max(self.max_cot, max_cot) end
  self.max_answer = math.max(self.max_answer, max_answer)
  self.max_length = math.max(self.max_length, max_length)
end

--- Puts a dataset together from its corpora and measures it.
---@param parts { task: string, vocabulary: icot.Vocabulary, train: icot.Corpus, valid: icot.Corpus, test: icot.Corpus,
---   ood: string[]? } and the corpora that `ood` names
---@return icot.Dataset
function dataset.assemble(parts)
  local self = setmetatable(parts, Dataset)
  self.ood, self.longest_cots = parts.ood or {}, {}
  self.max_cot, self.longest_cot, self.max_answer, self.max_length = 0, 0, 0, 0
  for _, split in ipairs(self:splits()) do take_in(self, split) end
  return self
end

-- The most reasoning steps of an example of a corpus.
local function most_steps(corpus, split)
  local most = 0
  for i = 0, corpus:size() - 1 do
    local count = corpus:count_steps(i)
    if not count then
      errors.raise("removal.unit: got 'step', but the reasoning steps of example %d of %s are not marked", i + 1, split)
    end
    most = math.max(most, count)
  end
  return most
end

--- Says what a schedule removes. From then on `max_cot` counts it.
---@param unit 'token'|'step'
---raises an error when the dataset has not marked its reasoning steps
function Dataset:count_in(unit)
  if unit ~= 'step' then return end
  self.max_cot = 0
  for _, split in ipairs(dataset.splits) do self.max_cot = math.max(self.max_cot, most_steps(self[split], split)) end
end

--- Adds a split out of distribution.
---@param name string of none that is there
---@param corpus icot.Corpus is the dataset's from then on
---@param unit 'token'|'step' what the schedule removes
---raises an error when these are steps, and the corpus has not marked them
function Dataset:add(name, corpus, unit)
  self[name] = corpus
  table.insert(self.ood, name)
  take_in(self, name)
  if unit == 'step' then most_steps(corpus, name) end
end

--- Names of all splits: train, valid, test and those out of distribution.
---@return string[]
function Dataset:splits()
  local all = {}
  for _, list in ipairs { dataset.splits, self.ood } do
    for _, split in ipairs(list) do all[#all + 1] = split end
  end
  return all
end

--- Whether a split is one out of distribution.
---@param split string
---@return boolean
function Dataset:is_ood(split)
  for _, name in ipairs(self.ood) do
    if name == split then return true end
  end
  return false
end

--- The examples of a split.
---@param split string
---@param where string what is being read, named at the start of an error
---@return icot.Corpus
---raises an error when there is no such split
function Dataset:corpus(split, where)
  local all = self:splits()
  for _, name in ipairs(all) do
    if name == split then return self[split] end
  end
  errors.raise('%s: %s has no split %s; %s', where, self.task, options.show(split), names.hint(split, all))
end

--- Tells datasets apart: equal for equal examples.
---@return string 16 hexadecimal digits for each split
function Dataset:digest()
  if not self.digests then
    local parts = {}
    for i, split in ipairs(self:splits()) do parts[i] = self[split]:digest() end
    self.digests = table.concat(parts, ' ')
  end
  return self.digests
end

--- Frees the corpora.
function Dataset:free()
  for _, split in ipairs(self:splits()) do self[split]:free() end
end

--- Names of the tasks there are: files datasets/TASK.lua on Lua's search path.
---@return string[] sorted
function dataset.tasks()
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
  return names.of(found)
end

--- The file of a task.
---@param name string
---@param where? string what is being read, named at the start of an error: 'recipe mult.lua'
---@param path? string the table that the name was given in, with a dot at its end: 'dataset.'
---@return icot.Task
---raises an error when there is no such task, or its file is broken
function dataset.task(name, where, path)
  local place = (where or 'dataset') .. ': ' .. (path or '') .. 'task'
  if type(name) ~= 'string' or not name:find('^[%w_]+$') then
    errors.raise('%s: got %s, expected the name of a file in datasets/', place, options.show(name))
  end
  local module = 'datasets.' .. name
  if not package.loaded[module] and not package.searchpath(module, package.path) then
    errors.raise('%s: there is no datasets/%s.lua; %s', place, name, names.hint(name, dataset.tasks()))
  end
  local ok, found = pcall(require, module)
  if not ok then
    if errors.is_user_error(found) then error(found, 0) end
    local message = tostring(found):gsub("^error loading module .- from file .-:\n%s*", '') -- names the file twice
    errors.raise('%s: %s', place, (message:gsub('\n.*', '')))
  end
  if type(found) ~= 'table' or type(found.options) ~= 'table' or type(found.load) ~= 'function' then
    errors.raise('%s: datasets/%s.lua must return { options = …, load = … }', place, name)
  end
  return found
end

--- Checks the description of a dataset and fills in what its task takes by default.
---@param given table `task` and the options of that task
---@param where? string what is being read, named at the start of an error: 'recipe mult.lua'
---@param path? string the table that `given` lies in, with a dot at its end: 'dataset.'
---@return table checked a copy
---raises an error for an unknown task, an unknown option or a value out of range
function dataset.check(given, where, path)
  local task, fields = dataset.task(given.task, where, path), {}
  for name, value in pairs(given) do
    if name ~= 'task' then fields[name] = value end
  end
  local checked = options.check(task.options, fields, where or 'dataset', path)
  checked.task = given.task
  return checked
end

-- Calls the load of a task. A mistake in the task's own file is for whoever wrote that to mend; one elsewhere keeps the
-- place where it was raised.
local function call_load(task, checked, wanted)
  local file = debug.getinfo(task.load, 'S').short_src
  local ok, result = xpcall(function() return task.load(checked, wanted) end, function(raised)
    if type(raised) ~= 'string' then return raised end
    local is_own = raised:sub(1, #file + 1) == file .. ':'
    return { is_own = is_own, text = is_own and raised:gsub('\n.*', '') or debug.traceback(raised, 2) }
  end)
  if ok then return result end
  if type(result) ~= 'table' or result.is_own == nil then error(result, 0) end
  if result.is_own then errors.raise('dataset: %s', result.text) end
  error(result.text, 0)
end

--- Loads a dataset.
---@param given table `task` and the options of that task, as in a recipe's `dataset`
---@param wanted? string the only split that is needed; all by default
---@return icot.Dataset
---raises an error as `check` does, or when the data cannot be had
function dataset.load(given, wanted)
  return call_load(dataset.task(given.task), dataset.check(given), wanted)
end

--- Loads the dataset of a run, as the run uses it: what its schedule removes is counted, and the vocabulary of a method
--- with pauses has a token for them, which no example has.
---@param config table the run's resolved configuration
---@return icot.Dataset
---raises an error as `load` does, and when that token is there already
function dataset.of_run(config)
  local data = dataset.load(config.dataset)
  cleanup.or_free(data, function()
    data:count_in(config.removal.unit)
    if methods.has_pauses(config.method) then data.vocabulary = data.vocabulary:with_pause() end
  end)
  return data
end

return dataset
