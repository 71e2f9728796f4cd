--- Ways through a graph: which of two nodes can be reached from a third (after ProsQA; Hao et al. 2024).
---
---   1 4 , 6 3 , 4 2 , 3 5 ; 1 ? 5 2||4 2 #### 2      from 1 by way of 4 to 2; 5 is reached from 6 alone
---
--- A question lists the edges of a graph (1 4: from 1 to 4) in any order, and after them where one starts and the two
--- nodes that may be the goal. The CoT is the way there, node by node, each a reasoning step; the last is the answer.
---
--- The graph is two trees of equally many nodes, and more edges within each. Every edge leads from a level to the next,
--- and both nodes in question are on the last one, each of its tree, so that neither distance nor position tells which
--- it is. Of several ways the CoT has that whose last edge is listed first, and of these that whose last but one is,
--- and so on. Nodes have a random name in each question. The splits share no question (icot.data.made_up tells how
--- they are drawn).
local difference = require 'datasets.arithmetic.difference'
local errors = require 'icot.base.errors'
local made_up = require 'icot.data.made_up'
local reasoning_steps = require 'icot.data.steps'
local vocabulary = require 'icot.text.vocabulary'
local checker = require 'datasets.graph.checker'
local text = require 'datasets.graph.text'

local graph = { options = made_up.options(50000) }

graph.options.nodes = { type = 'integer', min = 4, max = 1000, default = 16,
  doc = 'number of nodes in both trees together; an even number' }
graph.options.steps = { type = 'integer', min = 1, max = 100, default = 3,
  doc = 'number of edges from the start to the goal' }
graph.options.more_edges = { type = 'integer', min = 0, max = 1000, default = 2,
  doc = 'at most this many edges in addition to those of each tree' }

local TREES = 2

local function check(options)
  local nodes, steps = options.nodes, options.steps
  if nodes % TREES ~= 0 then
    errors.raise('graph: nodes=%d cannot be divided between two trees; give an even number', nodes)
  end
  if nodes / TREES < steps + 1 then
    errors.raise('graph: steps=%d needs a tree of %d nodes, but nodes=%d gives each only %d', steps, steps + 1, nodes,
                 nodes / TREES)
  end
end

-- ---- Drawing a question ---------------------------------------------------------------------------

-- Takes uniform numbers one after the other; below(n) is one of 1 … n.
local function drawing(uniform, at)
  return function(n)
    local drawn = math.floor(uniform[at] * n) + 1
    at = at + 1
    return drawn
  end
end

-- How many numbers a question takes at most: for names, levels and edges of the nodes; three for each of `more_edges`;
-- for the order of all edges; and for the goals, which leave some of what nodes were counted for.
local function numbers_for(options)
  return 4 * options.nodes + 4 * TREES * options.more_edges
end

local function shuffle(list, below)
  for last = #list, 2, -1 do
    local other = below(last)
    list[last], list[other] = list[other], list[last]
  end
  return list
end

-- The nodes of a tree, level by level; levels[1] is the root alone, and none is empty.
local function levels_of(names, steps, below)
  local levels = {}
  for i, name in ipairs(names) do
    local level = i <= steps + 1 and i or 1 + below(steps)
    levels[level] = levels[level] or {}
    table.insert(levels[level], name)
  end
  return levels
end

-- Adds an edge from the level above to a node, if it is not there.
local function add_edge(edges, levels, level, node, below)
  local above = levels[level - 1]
  local from = above[below(#above)]
  for _, edge in ipairs(edges) do
    if edge[1] == from and edge[2] == node then return end
  end
  edges[#edges + 1] = { from, node }
end

-- Adds a tree's own edges, and more of them where there is room.
local function add_edges(edges, levels, more, below)
  for level = 2, #levels do
    for _, node in ipairs(levels[level]) do add_edge(edges, levels, level, node, below) end
  end
  for _ = 1, more do
    local level = 1 + below(#levels - 1)
    add_edge(edges, levels, level, levels[level][below(#levels[level])], below)
  end
end

local function question_from(uniform, at, options)
  local below, names, edges, trees = drawing(uniform, at), {}, {}, {}
  for i = 1, options.nodes do names[i] = tostring(i) end
  shuffle(names, below)
  for tree = 1, TREES do
    local first = (tree - 1) * options.nodes / TREES
    trees[tree] = levels_of({ unpack(names, first + 1, first + options.nodes / TREES) }, options.steps, below)
    add_edges(edges, trees[tree], options.more_edges, below)
  end
  local goals = {}
  for tree = 1, TREES do
    local last = trees[tree][options.steps + 1]
    goals[tree] = last[below(#last)]
  end
  return text.symbols(shuffle(edges, below), trees[1][1][1], shuffle(goals, below))
end

-- ---- The way --------------------------------------------------------------------------------------

-- Which nodes can be reached from one, as a set.
local function reached_from(start, edges)
  local reached, is_growing = { [start] = true }, true
  while is_growing do
    is_growing = false
    for _, edge in ipairs(edges) do
      if reached[edge[1]] and not reached[edge[2]] then reached[edge[2]], is_growing = true, true end
    end
  end
  return reached
end

-- The way back to the start, by the edge into each node that is listed first. (All lead there: a node of a tree is
-- reached from its root alone.)
local function way_to(goal, start, edges)
  local into, way = {}, {}
  for _, edge in ipairs(edges) do into[edge[2]] = into[edge[2]] or edge[1] end
  local node = goal
  while node ~= start do
    table.insert(way, 1, node)
    node = into[node]
  end
  return way
end

local function solve(question)
  local read = assert(text.read(question))
  local reached, ends = reached_from(read.start, read.edges), {}
  local goal = reached[read.goals[1]] and read.goals[1] or read.goals[2]
  local way = way_to(goal, read.start, read.edges)
  for i = 1, #way do ends[i] = i end
  return way, { goal }, ends
end

-- ---- The examples ---------------------------------------------------------------------------------

local function symbols_of(options)
  local symbols = text.separators()
  for i = 1, options.nodes do symbols[#symbols + 1] = tostring(i) end
  return symbols
end

-- At least this many questions: start and goal have any two names, the edges of the trees stand in any order, and so do
-- the goals.
local function questions_of(options)
  local count = 2 * options.nodes * (options.nodes - 1)
  for i = 2, options.nodes - TREES do count = count * i end
  return count
end

--- Makes up the examples.
---@param options table values of `graph.options`
---@param wanted? 'train'|'valid'|'test' the only split that is needed
---@return icot.Dataset
---raises an error when the trees have too few nodes, or there are fewer questions than asked for
function graph.load(options, wanted)
  check(options)
  return made_up.load({
    task = 'graph', vocabulary = vocabulary.new('word', symbols_of(options)), options = options,
    limits = ('nodes=%d'):format(options.nodes), questions = questions_of(options), numbers = numbers_for(options),
    question = function(uniform, at) return question_from(uniform, at, options) end,
    solve = solve, steps_of = reasoning_steps.each_token,
  }, wanted)
end

--- Recomputes an example.
---@param question string
---@param cot string
---@param answer string
---@param options table values of `graph.options`
---@return string? problem nil when the example is right
function graph.check(question, cot, answer, options)
  return checker.check(question, cot, answer, options)
end

--- The nodes of the way, and of each node whether that many steps from the start reach it.
---@param question string
---@param cot string
---@param _ string answer
---@param options table values of `graph.options`
---@return icot.Quantity[]
function graph.quantities(question, cot, _, options)
  local found, read = {}, assert(text.read(difference.words_of(question)))
  for i, node in ipairs(difference.words_of(cot)) do found[i] = { name = ('way, node %d'):format(i), value = node } end
  local reached = { [read.start] = true }
  for step = 1, options.steps do
    local next_reached = {}
    for _, edge in ipairs(read.edges) do
      if reached[edge[1]] then next_reached[edge[2]] = true end
    end
    reached = next_reached
    for node = 1, options.nodes do
      local value = reached[tostring(node)] and 'yes' or 'no'
      found[#found + 1] = { name = ('reached in step %d, node %d'):format(step, node), value = value }
    end
  end
  return found
end

return graph
