--- What stands where in a sequence, by name, so that positions can be compared over examples, stages and models.
---
---   question 1 … question q   question <eos>   thought 1 … thought n   CoT 1 … CoT m   CoT <eos>   ####
---   answer 1 … answer a   answer <eos>
---
--- CoT tokens are counted before the cut: `CoT 5` is the same token in all stages that still have it. Thoughts are
--- where something leads the CoT instead of what is gone: continuous thoughts, or pauses (`removal.thoughts`).
local errors = require 'icot.base.errors'
local names = require 'icot.base.names'
local removal = require 'icot.text.removal'

local places = {}

---@class icot.probe.Shape what the sequence of an example is made of; examples of one shape share it
---@field names string[] of all its places, in order
---@field position table<string, integer> of each name, counted from 0

local function new_shape(question, thoughts, left, answer)
  local shape = { names = {}, position = {} }
  local function add(name)
    shape.position[name] = #shape.names
    shape.names[#shape.names + 1] = name
  end
  for i = 1, question do add('question ' .. i) end
  add 'question <eos>'
  for i = 1, thoughts do add('thought ' .. i) end
  for _, i in ipairs(left) do add('CoT ' .. i) end
  add 'CoT <eos>'
  add '####'
  for i = 1, answer do add('answer ' .. i) end
  add 'answer <eos>'
  return shape
end

--- The shapes of the first examples of a corpus.
---@param corpus icot.Corpus
---@param n integer
---@param cut ffi.cdata* icot_removal
---@return icot.probe.Shape[] shapes (n)
function places.shapes(corpus, n, cut)
  local shapes, known, thoughts = {}, {}, removal.leading(cut)
  for i = 1, n do
    local question, _, answer = corpus:lengths(i - 1)
    local left = removal.left(cut, corpus, i - 1)
    local key = ('%d %d %s'):format(question, answer, table.concat(left, ' '))
    known[key] = known[key] or new_shape(question, thoughts, left, answer)
    shapes[i] = known[key]
  end
  return shapes
end

local function is_in_all(name, ...)
  for _, shapes in ipairs { ... } do
    for _, shape in ipairs(shapes) do
      if not shape.position[name] then return false end
    end
  end
  return true
end

--- The places that all examples have, in the order of the first.
---@param part? string only those with this in their name
---@param ... icot.probe.Shape[] of some examples and of others
---@return string[] names
function places.common(part, ...)
  local found = {}
  for _, name in ipairs((...)[1].names) do
    if name:find(part or '', 1, true) and is_in_all(name, ...) then found[#found + 1] = name end
  end
  return found
end

--- Makes sure that there are places of a name.
---@param part? string
---@param ... icot.probe.Shape[] of sequences with all CoT, and of others
---raises an error when none of the places that all sequences of a kind have is so called
function places.check(part, ...)
  for _, shapes in ipairs { ... } do
    if #places.common(part, shapes) > 0 then return end
  end
  local kinds = {}
  for _, shapes in ipairs { ... } do
    for _, place in ipairs(shapes[1].names) do
      if place:find(' 1$') or not place:find('%d$') then kinds[place] = true end
    end
  end
  errors.raise("probe: no place has '%s' in its name; known are: %s", part, table.concat(names.sorted(kinds), ', '))
end

return places
