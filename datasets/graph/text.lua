--- How a question about a graph is written: `1 4 , 6 3 , 4 2 ; 1 ? 5 2`.
local text = {}

local NEXT, START, GOALS = ',', ';', '?'

--- The symbols that are no nodes.
---@return string[] a new list
function text.separators()
  return { NEXT, START, GOALS }
end

--- A question.
---@param edges string[][] each from its first node to its second
---@param start string
---@param goals string[] two nodes
---@return string[] symbols
function text.symbols(edges, start, goals)
  local symbols = {}
  for i, edge in ipairs(edges) do
    symbols[#symbols + 1], symbols[#symbols + 2] = edge[1], edge[2]
    symbols[#symbols + 1] = i < #edges and NEXT or START
  end
  symbols[#symbols + 1], symbols[#symbols + 2] = start, GOALS
  symbols[#symbols + 1], symbols[#symbols + 2] = goals[1], goals[2]
  return symbols
end

-- Whether a word is a node; it may be missing.
local function is_node(word)
  return word ~= nil and word:find('^%d+$') ~= nil
end

---@class datasets.graph.Question
---@field edges string[][]
---@field start string
---@field goals string[]

--- Reads a question.
---@param symbols string[]
---@return datasets.graph.Question? question
---@return string? problem what is wrong with it
function text.read(symbols)
  local edges, at = {}, 1
  repeat
    local from, to, after = symbols[at], symbols[at + 1], symbols[at + 2]
    if not (is_node(from) and is_node(to) and (after == NEXT or after == START)) then
      return nil, ("question: edge %d: expected two nodes and '%s' or '%s'"):format(#edges + 1, NEXT, START)
    end
    edges[#edges + 1] = { from, to }
    at = at + 3
  until after == START
  local start, mark, first, second = symbols[at], symbols[at + 1], symbols[at + 2], symbols[at + 3]
  if not (is_node(start) and mark == GOALS and is_node(first) and is_node(second)) or symbols[at + 4] then
    return nil, ("question: expected a node, '%s' and two nodes behind '%s'"):format(GOALS, START)
  end
  return { edges = edges, start = start, goals = { first, second } }
end

return text
