--- Held-out examples that a run was trained on before its recipe named other examples. With another number of test
--- examples, say, a dataset that draws them moves questions from one split to another.
local counted = require 'icot.base.counted'
local tasks = require 'icot.data.tasks'

local seen_before = {}

local HELD_OUT = { 'valid', 'test' }

local function question_at(corpus, i)
  return corpus.vocabulary:decode_part(corpus:example(i).question)
end

-- The training examples of the checkpoint; nil, if they cannot be had any more.
local function trained_on(from)
  local ok, before = pcall(tasks.load, from.description.config.dataset, 'train')
  if not ok then return nil end
  if before:digest():match('^%x+') == from.description.data:match('^%x+') then return before end -- of the split train
  before:free()
end

-- How many examples of each held-out split are among them.
local function count(data, before)
  local splits_with, counts = {}, {}
  for _, split in ipairs(HELD_OUT) do
    counts[split] = 0
    for i = 0, data[split]:size() - 1 do
      local question = question_at(data[split], i)
      splits_with[question] = splits_with[question] or {}
      table.insert(splits_with[question], split)
    end
  end
  for i = 0, before.train:size() - 1 do
    local question = question_at(before.train, i)
    for _, split in ipairs(splits_with[question] or {}) do counts[split] = counts[split] + 1 end
    splits_with[question] = nil -- counted, however often it was trained on
  end
  return counts
end

--- Which of a dataset's held-out examples were trained on until a checkpoint.
---@param data icot.Dataset that is used from now on
---@param from icot.Checkpoint
---@return string? note '63 of 400 test examples'; nil: none, or those of before cannot be had any more
function seen_before.describe(data, from)
  local before, parts = trained_on(from), {}
  if not before then return nil end
  local counts = count(data, before)
  before:free()
  for _, split in ipairs(HELD_OUT) do
    if counts[split] > 0 then
      parts[#parts + 1] = counted.part_of(counts[split], data[split]:size(), split .. ' example')
    end
  end
  return #parts > 0 and table.concat(parts, ', ') or nil
end

return seen_before
