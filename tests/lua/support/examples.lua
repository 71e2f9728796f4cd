--- The examples of a dataset as lines of text.
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

return examples
