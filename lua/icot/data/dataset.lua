--- Datasets: corpora of train, valid, test and more splits, what belongs to them, and what can be measured of them.
--- icot.data.tasks finds and loads them.
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local sequence = require 'icot.text.sequence'
local values = require 'icot.base.values'

local dataset = {}

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
---@field steps_of? icot.StepsOf where the steps of a CoT that comes from a file end
---@field max_cot integer longest CoT of train, valid and test, in what a schedule removes: tokens, or steps
---@field longest_cot integer of any split
---@field longest_cots table<string, integer> longest CoT of each split
---@field max_answer integer longest answer of all splits, in tokens
---@field max_length integer longest sequence of all splits, in tokens with its four separators
---@field room_for? fun(corpus: icot.Corpus, index: integer): integer see Dataset:make_room
local Dataset = {}
Dataset.__index = Dataset

dataset.splits = { 'train', 'valid', 'test' }

-- Lengths of the longest CoT, answer and sequence of a corpus.
local function measure(corpus, room_for)
  local max_cot, max_answer, max_length = 0, 0, 0
  for i = 0, corpus:size() - 1 do
    local question, cot, answer = corpus:lengths(i)
    max_cot, max_answer = math.max(max_cot, cot), math.max(max_answer, answer)
    max_length = math.max(max_length, sequence.length(question, room_for and room_for(corpus, i) or cot, answer))
  end
  return max_cot, max_answer, max_length
end

-- Takes in the lengths of a split that is there.
local function take_in(self, split)
  local max_cot, max_answer, max_length = measure(self[split], self.room_for)
  self.longest_cots[split], self.longest_cot = max_cot, math.max(self.longest_cot, max_cot)
  if not self:is_ood(split) then self.max_cot = math.max(self.max_cot, max_cot) end
  self.max_answer = math.max(self.max_answer, max_answer)
  self.max_length = math.max(self.max_length, max_length)
end

--- Whether a value is a dataset.
---@param value any
---@return boolean
function dataset.is_dataset(value)
  return getmetatable(value) == Dataset
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
      errors.raise("removal.unit: got 'step', but the reasoning steps of example %d of %s are not marked (in text "
                   .. 'files dataset.step_end does that)', i + 1, split)
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

--- Says that a CoT may come to have more tokens than in its example. From then on `max_length` counts them.
---@param room_for fun(corpus: icot.Corpus, index: integer): integer tokens at most, of the CoT of an example
function Dataset:make_room(room_for)
  self.room_for = room_for
  for _, split in ipairs(self:splits()) do
    local _, _, max_length = measure(self[split], room_for)
    self.max_length = math.max(self.max_length, max_length)
  end
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
  errors.raise('%s: %s has no split %s; %s', where, self.task, values.show(split), names.hint(split, all))
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

return dataset
