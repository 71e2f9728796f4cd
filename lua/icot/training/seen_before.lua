--- Held-out examples that a run was trained on before its recipe named other examples. With another number of test
--- examples, say, a dataset that draws them moves questions from one split to another.
local checkpoint = require 'icot.saved.checkpoint'
local counted = require 'icot.base.counted'
local tasks = require 'icot.data.tasks'

local seen_before = {}

local HELD_OUT = { 'valid', 'test' }
local LONGEST = 100 -- forks of forks that are followed back

-- The digest of the split train, which comes first, in that of a dataset.
local function of_train(digest)
  return digest:match('^%x+')
end

-- Calls `look` with the training examples of a checkpoint; false if they cannot be had any more.
local function with_trained_on(description, data, look)
  local wanted = of_train(description.data)
  if of_train(data:digest()) == wanted then
    look(data.train)
    return true
  end
  local ok, before = pcall(tasks.load, description.config.dataset, 'train')
  if not ok then return false end
  local is_it = of_train(before:digest()) == wanted
  if is_it then look(before.train) end
  before:free()
  return is_it
end

-- What a checkpoint says, and what those say that its run, as a fork, began at, and so on.
local function lineage_of(from)
  local list, description = {}, from.description
  while description and #list < LONGEST do
    list[#list + 1] = description
    local path = description.config.fork_from
    local ok, before = path ~= nil, nil
    if path then ok, before = pcall(checkpoint.read_description, path) end
    description = ok and before -- it may be gone, or damaged meanwhile
  end
  return list
end

-- The splits that each held-out question is in, by question.
local function held_out_questions(data)
  local splits_with = {}
  for _, split in ipairs(HELD_OUT) do
    for i = 0, data[split]:size() - 1 do
      local question = data[split]:question(i)
      splits_with[question] = splits_with[question] or {}
      table.insert(splits_with[question], split)
    end
  end
  return splits_with
end

--- Which of a dataset's held-out examples were trained on until a checkpoint.
---@param data icot.Dataset that is used from now on
---@param from icot.Checkpoint
---@return string? note '63 of 400 test examples'; nil: none
---@return boolean is_known false: some of what was trained on cannot be had any more
function seen_before.describe(data, from)
  local splits_with, counts, is_known, parts = held_out_questions(data), { valid = 0, test = 0 }, true, {}
  local function look(corpus)
    for i = 0, corpus:size() - 1 do
      local question = corpus:question(i)
      for _, split in ipairs(splits_with[question] or {}) do counts[split] = counts[split] + 1 end
      splits_with[question] = nil -- counted, however often it was trained on
    end
  end
  for _, description in ipairs(lineage_of(from)) do
    is_known = with_trained_on(description, data, look) and is_known
  end
  for _, split in ipairs(HELD_OUT) do
    if counts[split] > 0 then
      parts[#parts + 1] = counted.part_of(counts[split], data[split]:size(), split .. ' example')
    end
  end
  return #parts > 0 and table.concat(parts, ', ') or nil, is_known
end

return seen_before
