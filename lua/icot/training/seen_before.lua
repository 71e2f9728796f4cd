--- Held-out examples that a run was trained on before its recipe named other examples. With another number of test
--- examples, say, a dataset that draws them moves questions from one split to another.
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local tasks = require 'icot.data.tasks'

local seen_before = {}

local HELD_OUT = { 'valid', 'test' }

-- The digest of the split train, which comes first, in that of a dataset.
local function of_train(digest)
  return digest:match('^%x+')
end

---@class icot.TrainedOn examples that a run was trained on
---@field dataset table of the configuration
---@field data string digest, see Dataset:digest

--- What a run that goes on from a checkpoint was trained on until then.
---@param from icot.Checkpoint?
---@return icot.TrainedOn[]
function seen_before.until_checkpoint(from)
  if not from then return {} end
  local description, list = from.description, {}
  for i, each in ipairs(description.trained_on or {}) do list[i] = each end
  local last = list[#list]
  if not last or last.data ~= description.data then
    list[#list + 1] = { dataset = description.config.dataset, data = description.data }
  end
  return list
end

--- Those of them that are not what a run is trained on now.
---@param trained_on icot.TrainedOn[]
---@param data icot.Dataset
---@return icot.TrainedOn[]
function seen_before.others(trained_on, data)
  local others = {}
  for _, each in ipairs(trained_on) do
    if each.data ~= data:digest() then others[#others + 1] = each end
  end
  return others
end

-- Calls `look` with training examples of before; false if they cannot be had any more.
local function with_examples(trained_on, data, look)
  local wanted = of_train(trained_on.data)
  if of_train(data:digest()) == wanted then
    look(data.train)
    return true
  end
  local ok, before = pcall(tasks.load, trained_on.dataset, 'train')
  if not ok and not errors.is_user_error(before) then error(before, 0) end
  if not ok then return false end
  local is_it = of_train(before:digest()) == wanted
  if is_it then look(before.train) end
  before:free()
  return is_it
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

--- Which of a dataset's held-out examples were trained on before.
---@param data icot.Dataset that is used from now on
---@param trained_on icot.TrainedOn[]
---@return string? note '63 of 400 test examples'; nil: none
---@return boolean is_known false: some of what was trained on cannot be had any more
function seen_before.describe(data, trained_on)
  local others, counts, is_known, parts = seen_before.others(trained_on, data), { valid = 0, test = 0 }, true, {}
  local splits_with = #others > 0 and held_out_questions(data)
  local function look(corpus)
    for i = 0, corpus:size() - 1 do
      local question = corpus:question(i)
      for _, split in ipairs(splits_with[question] or {}) do counts[split] = counts[split] + 1 end
      splits_with[question] = nil -- counted, however often it was trained on
    end
  end
  for _, each in ipairs(others) do is_known = with_examples(each, data, look) and is_known end
  for _, split in ipairs(HELD_OUT) do
    if counts[split] > 0 then
      parts[#parts + 1] = counted.part_of(counts[split], data[split]:size(), split .. ' example')
    end
  end
  return #parts > 0 and table.concat(parts, ', ') or nil, is_known
end

return seen_before
