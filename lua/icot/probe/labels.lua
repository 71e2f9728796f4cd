--- What probes shall tell of each example: quantities and their values, as the numbers of classes.
local errors = require 'icot.base.errors'
local ffi = require 'ffi'
local names = require 'icot.base.names'
local random = require 'icot.engine.random'

local labels = {}

---@class icot.probe.Column one thing to be told
---@field quantity string
---@field baseline number accuracy on the held-out examples of always saying the class most frequent in those fitted to
---@field is_shuffled boolean the labels are those of other examples

---@class icot.probe.Labels
---@field columns icot.probe.Column[] (K)
---@field classes integer C, of the quantity that has the most
---@field fit ffi.cdata* int32 (n_fit, K) the class of each quantity in each example
---@field held_out ffi.cdata* int32 (n_held_out, K)
---@field n_fit integer
---@field n_held_out integer

-- ---- Reading them off the examples --------------------------------------------------------------

-- Without a task's own: the tokens of the CoT by their place.
local function tokens_of_cot(corpus, index)
  local found = {}
  for i, token in ipairs(corpus:example(index).cot) do
    found[i] = { name = 'CoT, token ' .. i, value = corpus.vocabulary:decode { token } }
  end
  return found
end

local function quantities_of(corpus, index, task, options)
  if not task.quantities then return tokens_of_cot(corpus, index) end
  local question, cot, answer = corpus:texts(index)
  return task.quantities(question, cot, answer, options)
end

-- The values of the first examples of a corpus by name, and the names of the first example in their order.
local function read(corpus, n, task, options)
  local values, order = {}, {}
  for i = 1, n do
    values[i] = {}
    for k, quantity in ipairs(quantities_of(corpus, i - 1, task, options)) do
      values[i][quantity.name] = quantity.value
      if i == 1 then order[k] = quantity.name end
    end
  end
  return values, order
end

-- The class of each value of a quantity, or nil if an example lacks it, or all have the same value.
local function classes_of(name, ...)
  local seen, count = {}, 0
  for _, values in ipairs { ... } do
    for _, each in ipairs(values) do
      if not each[name] then return nil end
      if not seen[each[name]] then seen[each[name]], count = true, count + 1 end
    end
  end
  if count < 2 then return nil end
  local classes = {}
  for i, value in ipairs(names.sorted(seen)) do classes[value] = i - 1 end
  return classes, count
end

local function fill(values, columns, classes)
  local numbers = ffi.new('int32_t[?]', #values * #columns)
  for i, each in ipairs(values) do
    for k, column in ipairs(columns) do
      numbers[(i - 1) * #columns + k - 1] = classes[k][each[column.quantity]]
    end
  end
  return numbers
end

local function most_frequent(numbers, n, n_columns, k)
  local counts, best = {}, nil
  for i = 0, n - 1 do
    local class = numbers[i * n_columns + k]
    counts[class] = (counts[class] or 0) + 1
    if not best or counts[class] > counts[best] then best = class end
  end
  return best
end

local function set_baselines(self)
  local n_columns = #self.columns
  for k, column in ipairs(self.columns) do
    local guess, hits = most_frequent(self.fit, self.n_fit, n_columns, k - 1), 0
    for i = 0, self.n_held_out - 1 do
      if self.held_out[i * n_columns + k - 1] == guess then hits = hits + 1 end
    end
    column.baseline = hits / self.n_held_out
  end
end

---@class icot.probe.Splits
---@field fit string the split whose examples probes are fitted to
---@field held_out string the one they are tested on
---@field n_fit integer this many of its examples, the first ones
---@field n_held_out integer

-- Names up to their first comma, which are those of groups.
local function raise_none(task, part, all_names)
  local groups, seen = {}, {}
  for _, name in ipairs(all_names) do
    local group = name:match('^[^,]*')
    if not seen[group] then groups[#groups + 1] = group end
    seen[group] = true
  end
  if part and #groups > 0 then
    errors.raise("probe: %s: no quantity that varies has '%s' in its name; known are: %s", task, part,
                 table.concat(groups, ', '))
  end
  errors.raise('probe: %s: no quantity varies between the examples, so there is nothing to probe', task)
end

--- Reads the labels of a dataset's examples: the quantities that all of them have, and that are not always the same.
---@param data icot.Dataset
---@param task icot.Task
---@param options table of the task
---@param splits icot.probe.Splits
---@param part? string only quantities with this in their name
---@return icot.probe.Labels
---raises an error when there is nothing to tell
function labels.read(data, task, options, splits, part)
  local fit, order = read(data[splits.fit], splits.n_fit, task, options)
  local held_out = read(data[splits.held_out], splits.n_held_out, task, options)
  local self, classes = { columns = {}, classes = 0, n_fit = #fit, n_held_out = #held_out }, {}
  for _, name in ipairs(order) do
    local found, count = classes_of(name, fit, held_out)
    if found and name:find(part or '', 1, true) then
      self.columns[#self.columns + 1], classes[#classes + 1] = { quantity = name, is_shuffled = false }, found
      self.classes = math.max(self.classes, count)
    end
  end
  if #self.columns == 0 then
    raise_none(data.task, part, order)
  end
  self.fit, self.held_out = fill(fit, self.columns, classes), fill(held_out, self.columns, classes)
  set_baselines(self)
  return self
end

-- ---- The control whose labels are shuffled ------------------------------------------------------

-- The same columns once more beside themselves, with the labels of another example.
local function double(numbers, n, n_columns, key)
  local order, doubled = random.permutation(key, n), ffi.new('int32_t[?]', 2 * n * n_columns)
  for i = 0, n - 1 do
    local to = doubled + 2 * i * n_columns
    ffi.copy(to, numbers + i * n_columns, 4 * n_columns)
    ffi.copy(to + n_columns, numbers + order[i] * n_columns, 4 * n_columns)
  end
  return doubled
end

--- The labels, and beside them the same with all examples exchanged for others at random: nothing can be told of these
--- from hidden states, and what a probe is right about all the same is chance.
---@param self icot.probe.Labels
---@param seed integer
---@return icot.probe.Labels with 2·K columns
function labels.with_shuffled(self, seed)
  local doubled = { columns = {}, classes = self.classes, n_fit = self.n_fit, n_held_out = self.n_held_out }
  for k, column in ipairs(self.columns) do
    doubled.columns[k] = column
    doubled.columns[k + #self.columns] = { quantity = column.quantity, baseline = column.baseline, is_shuffled = true }
  end
  doubled.fit = double(self.fit, self.n_fit, #self.columns, random.key(seed, 'probe', 1))
  doubled.held_out = double(self.held_out, self.n_held_out, #self.columns, random.key(seed, 'probe', 2))
  return doubled
end

return labels
