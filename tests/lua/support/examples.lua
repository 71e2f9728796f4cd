--- The examples of a dataset as lines of text.
local tasks = require 'icot.data.tasks'

local examples = {}

--- Those of one corpus, or of several one after the other.
---@param ... icot.Corpus
---@return string[]
function examples.lines(...)
  local lines = {}
  for _, corpus in ipairs { ... } do
    for i = 0, corpus:size() - 1 do lines[#lines + 1] = corpus:text(i) end
  end
  return lines
end

--- How a task's examples are made: load(options, wanted) and check(options) as in icot.data.tasks, of options that need
--- not name it.
---@param name string
---@return fun(given: table, wanted?: string): icot.Dataset load
---@return fun(given: table): table check
function examples.of_task(name)
  return function(given, wanted)
    given.task = name
    return tasks.load(given, wanted)
  end, function(given)
    given.task = name
    return tasks.check(given)
  end
end

return examples
