--- Looks through a file of examples: what is wrong with which line, and how long the parts are.
local example_file = require 'icot.text.example_file'
local sequence = require 'icot.text.sequence'

local example_check = {}

--- What is measured of each example, in tokens; `sequence` counts the four separators too.
example_check.parts = { 'question', 'cot', 'answer', 'sequence' }

-- ---- Lengths ------------------------------------------------------------------------------------

-- Lengths are counted, not listed, so that a file of any size needs little memory.
---@class icot.LengthCounts
---@field count integer how many lengths were noted
---@field with table<integer, integer> how many of each length
local LengthCounts = {}
LengthCounts.__index = LengthCounts

local function new_counts()
  return setmetatable({ count = 0, with = {} }, LengthCounts)
end

function LengthCounts:note(length)
  self.count = self.count + 1
  self.with[length] = (self.with[length] or 0) + 1
end

-- The length at place `rank` (1 … count) when all are sorted.
function LengthCounts:at(rank)
  local lengths, passed = {}, 0
  for length in pairs(self.with) do lengths[#lengths + 1] = length end
  table.sort(lengths)
  for _, length in ipairs(lengths) do
    passed = passed + self.with[length]
    if passed >= rank then return length end
  end
end

--- Smallest, middle and largest length; the middle of an even number is the mean of the two there.
---@return number min, number median, number max
function LengthCounts:summary()
  local middle = (self:at(math.floor((self.count + 1) / 2)) + self:at(math.floor(self.count / 2) + 1)) / 2
  return self:at(1), middle, self:at(self.count)
end

-- ---- The file -----------------------------------------------------------------------------------

---@class icot.ExampleReport
---@field examples integer well-formed lines
---@field malformed integer lines that are no example
---@field wrong integer examples that the task says are wrong
---@field doubled integer examples with two spaces in a row, between which the tokenizer 'word' has an empty token
---@field lengths table<string, icot.LengthCounts> by the names in example_check.parts

local function note_lengths(count, lengths, question, cot, answer)
  local n_question, n_cot, n_answer = count(question), count(cot), count(answer)
  lengths.question:note(n_question)
  lengths.cot:note(n_cot)
  lengths.answer:note(n_answer)
  lengths.sequence:note(sequence.length(n_question, n_cot, n_answer))
end

--- Checks every line of a file.
---@param path string
---@param where string who asks, at the start of an error
---@param count fun(text: string): integer tokens of a part
---@param check? fun(question: string, cot: string, answer: string): string? of a task: what is wrong, or nil
---@param found fun(number: integer, problem: string) called for each line that something is wrong with
---@return icot.ExampleReport
---raises an error when the file can't be read
function example_check.file(path, where, count, check, found)
  local report = { examples = 0, malformed = 0, wrong = 0, doubled = 0, lengths = {} }
  for _, part in ipairs(example_check.parts) do report.lengths[part] = new_counts() end

  for number, line in example_file.lines(path, where) do
    local question, cot, answer = example_file.parse(line)
    if question then
      report.examples = report.examples + 1
      note_lengths(count, report.lengths, question, cot, answer)
      if line:find('  ', 1, true) then report.doubled = report.doubled + 1 end
      local problem = check and check(question, cot, answer)
      if problem then
        report.wrong = report.wrong + 1
        found(number, problem)
      end
    else
      report.malformed = report.malformed + 1
      found(number, cot)
    end
  end
  return report
end

return example_check
