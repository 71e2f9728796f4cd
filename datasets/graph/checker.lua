--- Recomputes an example of a graph, another way than the dataset does: forwards from the start, along all ways of the
--- length that one should have.
local difference = require 'datasets.arithmetic.difference'
local text = require 'datasets.graph.text'

local checker = {}

-- All ways of that many steps from a node, each as its nodes and, the last first, the places of its edges in the list.
local function ways_from(start, edges, steps)
  local ways = { { nodes = {}, places = {}, at = start } }
  for _ = 1, steps do
    local longer = {}
    for _, way in ipairs(ways) do
      for place, edge in ipairs(edges) do
        if edge[1] == way.at then
          local nodes, places = { unpack(way.nodes) }, { place, unpack(way.places) }
          nodes[#nodes + 1] = edge[2]
          longer[#longer + 1] = { nodes = nodes, places = places, at = edge[2] }
        end
      end
    end
    ways = longer
  end
  return ways
end

-- Whether a way's last edge is listed before the other's, or, if that is one, the last but one, …
local function comes_first(way, other)
  for i, place in ipairs(way.places) do
    if place ~= other.places[i] then return place < other.places[i] end
  end
  return false
end

-- What is wrong with the names of a question's nodes.
local function strange_node(read, nodes)
  local function is_strange(name) return tonumber(name) < 1 or tonumber(name) > nodes end
  local names = { read.start, read.goals[1], read.goals[2] }
  for _, edge in ipairs(read.edges) do
    names[#names + 1], names[#names + 2] = edge[1], edge[2]
  end
  for _, name in ipairs(names) do
    if is_strange(name) then return ('question: has a node %s, expected 1 to nodes=%d'):format(name, nodes) end
  end
end

--- What is wrong with an example.
---@param question string
---@param cot string
---@param answer string
---@param options { nodes: integer, steps: integer }
---@return string? problem nil: nothing
function checker.check(question, cot, answer, options)
  local read, problem = text.read(difference.words_of(question))
  problem = problem or strange_node(read, options.nodes)
  if problem then return problem end
  local steps = options.steps
  local best, reached = nil, {}
  for _, way in ipairs(ways_from(read.start, read.edges, steps)) do
    local is_goal = way.at == read.goals[1] or way.at == read.goals[2]
    if is_goal then reached[way.at] = true end
    if is_goal and (not best or comes_first(way, best)) then best = way end
  end
  if not best then return ('question: neither goal is steps=%d edges from the start'):format(steps) end
  if reached[read.goals[1]] and reached[read.goals[2]] then return 'question: both goals can be reached' end
  return difference.of(cot, best.nodes, answer, { best.at })
end

return checker
