--- The dataset `graph`: graphs in which one goal can be reached, ways by its rule, and the checker.
local dataset = require 'icot.data.dataset'
local difference = require 'datasets.arithmetic.difference'
local example_file = require 'icot.text.example_file'
local examples = require 'tests.lua.support.examples'
local expect = require 'tests.lua.support.expect'
local graph = require 'datasets.graph'
local text = require 'datasets.graph.text'

local lines_of = examples.lines

local load, options_of = examples.of_task 'graph'

-- The distance of each node from one, worked out step by step.
local function distances(start, edges)
  local found, front, distance = { [start] = 0 }, { start }, 0
  while #front > 0 do
    distance = distance + 1
    local next_front = {}
    for _, node in ipairs(front) do
      for _, edge in ipairs(edges) do
        if edge[1] == node and not found[edge[2]] then
          found[edge[2]], next_front[#next_front + 1] = distance, edge[2]
        end
      end
    end
    front = next_front
  end
  return found
end

local function count_of(set)
  local count = 0
  for _ in pairs(set) do count = count + 1 end
  return count
end

describe('graph', function()
  it('asks for the one goal that can be reached, so many steps away, in graphs of two halves', function()
    for _, given in ipairs { { nodes = 8, steps = 2 }, { nodes = 16 }, { nodes = 30, steps = 5, more_edges = 9 },
                             { nodes = 4, steps = 1, more_edges = 0 } } do
      given.train, given.valid, given.test = 0, 0, given.nodes == 4 and 40 or 200
      local made, checked, first_is_goal = load(given), options_of(given), 0
      for _, line in ipairs(lines_of(made.test)) do
        local question, cot, answer = example_file.parse(line)
        local read = assert(text.read(difference.words_of(question)))
        local from_start = distances(read.start, read.edges)
        local goal, other = unpack(answer == read.goals[1] and read.goals or { read.goals[2], read.goals[1] })
        assert.same({ answer, checked.steps }, { goal, from_start[goal] })
        assert.is_nil(from_start[other])
        assert.equal(checked.nodes / 2, count_of(from_start))
        assert.equal(checked.steps, #difference.words_of(cot))
        local has = {}
        for _, edge in ipairs(read.edges) do
          local name = edge[1] .. ' ' .. edge[2]
          assert.is_nil(has[name])
          has[name] = true
        end
        assert(#read.edges >= checked.nodes - 2 and #read.edges <= checked.nodes - 2 + 2 * checked.more_edges)
        first_is_goal = first_is_goal + (goal == read.goals[1] and 1 or 0)
        assert.is_nil(graph.check(question, cot, answer, checked))
      end
      if made.test:size() == 200 then assert(first_is_goal > 70 and first_is_goal < 130) end
      assert.equal(checked.steps, made.test:count_steps(0))
      made:free()
    end
  end)

  it('takes, of several ways, that whose last edge is listed first', function()
    local given = options_of { nodes = 8, steps = 2 }
    local function way(question) return graph.check(question, '2 4', '4', given) end
    assert.is_nil(way '2 4 , 1 2 , 1 3 , 3 4 , 5 6 , 6 7 ; 1 ? 4 7')
    expect.mentions(way '3 4 , 1 2 , 1 3 , 2 4 , 5 6 , 6 7 ; 1 ? 4 7', "CoT: word 1 is '2', expected '3'")
  end)

  it('shares no question between splits, repeats none, and is what its seed says', function()
    local given = { nodes = 8, steps = 2, train = 2000, valid = 300, test = 300 }
    local made, seen = load(given), {}
    for _, line in ipairs(lines_of(made.train, made.valid, made.test)) do
      local question = line:match('^(.-)||')
      assert.is_nil(seen[question])
      seen[question] = true
    end
    local again, other = load(given), load { nodes = 8, steps = 2, train = 2000, valid = 300, test = 300, seed = 2 }
    assert.equal(made:digest(), again:digest())
    assert.not_equal(made:digest(), other:digest())
    for _, split in ipairs(dataset.splits) do
      local alone = load(given, split)
      assert.same(lines_of(made[split]), lines_of(alone[split]))
      alone:free()
    end
    -- on any machine, in any version
    assert.equal('6 1 , 5 7 , 6 5 , 3 2 , 8 3 , 3 4 ; 6 ? 7 4||5 7 #### 7', made.test:text(0))
    for _, each in ipairs { made, again, other } do each:free() end
  end)

  it('says what is too much', function()
    expect.mentions(expect.user_error(load, { nodes = 9 }), 'nodes=9', 'give an even number')
    expect.mentions(expect.user_error(load, { nodes = 6, steps = 3 }), 'steps=3 needs a tree of 4 nodes',
                    'nodes=6 gives each only 3')
    expect.mentions(expect.user_error(load, { nodes = 4, steps = 1, train = 47, valid = 1, test = 1 }), 'nodes=4',
                    'only 48')
  end)

  it('finds what is wrong with an example', function()
    local given = options_of { nodes = 8, steps = 2 }
    local function problem(question, cot, answer) return graph.check(question, cot or '2 4', answer or '4', given) end
    local good = '1 2 , 2 4 , 5 6 , 6 7 ; 1 ? 4 7'
    assert.is_nil(problem(good))
    expect.mentions(problem(good, '2 7'), "CoT: word 2 is '7', expected '4'")
    expect.mentions(problem(good, '2 4 4'), 'CoT: has 3 words, expected 2')
    expect.mentions(problem(good, nil, '7'), "answer: word 1 is '7', expected '4'")
    expect.mentions(problem '1 2 , 2 4 , 5 6 , 6 7 ; 5 ? 4 2', 'neither goal is steps=2 edges from the start')
    expect.mentions(problem '1 2 , 2 4 , 2 6 ; 1 ? 4 6', 'both goals can be reached')
    expect.mentions(problem '1 2 , 2 4 , 5 6 , 6 9 ; 1 ? 4 9', 'has a node 9, expected 1 to nodes=8')
    expect.mentions(problem '1 2 , 2 4 , 5 6 , 6 7 ; 1 ? 4 0', 'has a node 0')
    for _, broken in ipairs { '', '1 2', '1 2 3', '1 2 , ; 1 ? 4 7', '1 x ; 1 ? 4 7' } do
      expect.mentions(problem(broken), 'question: edge ')
    end
    for _, broken in ipairs { '1 2 ;', '1 2 ; 1', '1 2 ; 1 ? 4', '1 2 ; 1 ? 4 7 8', '1 2 ; 1 ; 4 7' } do
      expect.mentions(problem(broken), "question: expected a node, '?' and two nodes behind ';'")
    end
  end)

  it('lets probes look for the way, and for what so many steps reach', function()
    local values = {}
    for _, each in ipairs(graph.quantities('1 2 , 2 4 , 1 3 , 5 6 , 6 7 ; 1 ? 4 7', '2 4', '4',
                                           options_of { nodes = 8, steps = 2 })) do
      values[each.name] = each.value
    end
    assert.equal(2 + 2 * 8, count_of(values))
    assert.same({ '2', '4' }, { values['way, node 1'], values['way, node 2'] })
    local reached = {}
    for step = 1, 2 do
      for node = 1, 8 do reached[#reached + 1] = values[('reached in step %d, node %d'):format(step, node)] end
    end
    assert.equal('no yes yes no no no no no no no no yes no no no no', table.concat(reached, ' '))
  end)
end)
