--- Compares the words of an example with those it should have, one by one: what the checkers of tasks share.
local difference = {}

--- The words of a text that is separated by single spaces; two spaces in a row have an empty word between them.
---@param text string
---@return string[]
function difference.words_of(text)
  local words = {}
  if text == '' then return words end
  for word in (text .. ' '):gmatch('(.-) ') do words[#words + 1] = word end
  return words
end

local function in_part(name, text, expected)
  local words = difference.words_of(text)
  for i, word in ipairs(expected) do
    if words[i] and words[i] ~= word then
      return ("%s: word %d is '%s', expected '%s'"):format(name, i, words[i], word)
    end
  end
  if #words ~= #expected then return ('%s: has %d words, expected %d'):format(name, #words, #expected) end
end

--- What is different in CoT and answer.
---@param cot string
---@param expected_cot string[]
---@param answer string
---@param expected_answer string[]
---@return string? problem nil: nothing
function difference.of(cot, expected_cot, answer, expected_answer)
  local in_cot, in_answer = in_part('CoT', cot, expected_cot), in_part('answer', answer, expected_answer)
  return in_cot and in_answer and in_cot .. '; ' .. in_answer or in_cot or in_answer
end

return difference
