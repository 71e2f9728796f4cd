--- Files of examples: one `question||cot #### answer` per line, the CoT possibly empty.
---
--- The format is strict, so that a damaged line is noticed: exactly one `||` and one `####`, one space
--- on either side of the latter, no other space at the edges of the three parts, UTF-8 without
--- control characters, neither question nor answer empty. Lines end in LF, or in CRLF if the first two
--- do (elsewhere a CR is a control character); the last line may lack its end.
local errors = require 'icot.base.errors'
local vocabulary = require 'icot.text.vocabulary'

local find, sub = string.find, string.sub

local example_file = {}

--- What some programs put at the beginning of a text file to say that it is UTF-8.
example_file.BYTE_ORDER_MARK = '\239\187\191'

local CHUNK = 2 ^ 20        -- bytes read at a time
local LONGEST = 16 * 2 ^ 20 -- bytes of a line; more is no text

-- ---- Lines --------------------------------------------------------------------------------------

---@class icot.LineReader
---@field file file*? nil: its end was reached
---@field path string
---@field prefix string of messages
---@field buffer string what was read and not yet given, from `position` on
---@field position integer
---@field number integer of the line that was given last
---@field has_cr boolean its lines end in CRLF

-- Whether the file's lines end in CRLF: the first one does, and so does the second if it is there.
local function ends_in_crlf(self, first_line)
  local second = find(self.buffer, '\n', self.position, true)
  return sub(first_line, -1) == '\r' and (not second or sub(self.buffer, second - 1, second - 1) == '\r')
end

local function take(self, line)
  self.number = self.number + 1
  if self.number == 1 then
    if sub(line, 1, 3) == example_file.BYTE_ORDER_MARK then line = sub(line, 4) end
    self.has_cr = ends_in_crlf(self, line)
  end
  if self.has_cr and sub(line, -1) == '\r' then line = sub(line, 1, -2) end
  return self.number, line
end

local function close(self)
  if self.file then self.file:close() end
  self.file = nil
end

-- Reads on, at least to the end of the next line if there is one.
local function read_more(self)
  local chunk, problem = self.file:read(CHUNK)
  if problem then errors.raise("%scannot read '%s': %s", self.prefix, self.path, problem) end
  self.buffer, self.position = sub(self.buffer, self.position) .. (chunk or ''), 1
  if #self.buffer > LONGEST then
    close(self)
    errors.raise('%s: line %d is longer than %d MiB; is this a text file?', self.path, self.number + 1,
                 LONGEST / 2 ^ 20)
  end
  if not chunk then close(self) end
end

local function next_line(self)
  local stop = find(self.buffer, '\n', self.position, true)
  while not stop and self.file do
    read_more(self)
    stop = find(self.buffer, '\n', 1, true)
  end
  if not stop and self.position > #self.buffer then return nil end
  local first = self.position
  self.position = (stop or #self.buffer) + 1
  return take(self, sub(self.buffer, first, self.position - (stop and 2 or 1)))
end

local function open(path, where)
  local prefix = where and where .. ': ' or ''
  local file, problem = io.open(path, 'rb')
  if not file then errors.raise_as('no_file', "%scannot open '%s': %s", prefix, path, errors.reason(problem)) end
  return { file = file, path = path, prefix = prefix, buffer = '', position = 1, number = 0, has_cr = false }
end

--- Goes over the lines of a file, without their ends: `for number, line in example_file.lines(path)`.
--- Unlike io.lines it sees NUL bytes and tells a read error from the end of the file.
---@param path string
---@param where? string what named the file, at the start of an error: 'dataset.train'
---@return fun(): integer?, string?
---raises an error when the file can't be read or has a line of more than 16 MiB
function example_file.lines(path, where)
  local reader = open(path, where)
  return function() return next_line(reader) end
end

-- The next line with its end, read no further than that; nil: there is none.
local function read_line(file)
  local bytes = {}
  for byte in function() return file:read(1) end do
    bytes[#bytes + 1] = byte
    if #bytes > LONGEST then errors.raise('a line is longer than %d MiB; is this text?', LONGEST / 2 ^ 20) end
    if byte == '\n' then break end
  end
  return bytes[1] and table.concat(bytes)
end

--- Goes over the lines of a stream, such as the standard input, and gives each as soon as it is there. Each may end in
--- LF or CRLF.
---@param file file*
---@return fun(): integer?, string?
function example_file.lines_from(file)
  local number = 0
  return function()
    local line = read_line(file)
    if not line then return nil end
    number = number + 1
    if number == 1 and sub(line, 1, 3) == example_file.BYTE_ORDER_MARK then line = sub(line, 4) end
    return number, (line:gsub('\r?\n$', ''))
  end
end

-- ---- One line -----------------------------------------------------------------------------------

-- What may follow the first byte of a UTF-8 character of several bytes (Unicode 15, table 3-7).
local continuations = {
  { first = '[\194-\223]', rest = '[\128-\191]' },
  { first = '\224', rest = '[\160-\191][\128-\191]' },
  { first = '[\225-\236\238\239]', rest = '[\128-\191][\128-\191]' },
  { first = '\237', rest = '[\128-\159][\128-\191]' },
  { first = '\240', rest = '[\144-\191][\128-\191][\128-\191]' },
  { first = '[\241-\243]', rest = '[\128-\191][\128-\191][\128-\191]' },
  { first = '\244', rest = '[\128-\143][\128-\191][\128-\191]' },
}

-- The last byte of the UTF-8 character of several bytes at this place, or nil.
local function character_end(line, at)
  for _, continuation in ipairs(continuations) do
    local _, last = find(line, '^' .. continuation.first .. continuation.rest, at)
    if last then return last end
  end
end

-- What is wrong with the bytes of a line, or nil.
local function bad_bytes(line)
  local at = find(line, '[^\32-\126]')
  while at do
    local value = line:byte(at)
    if value < 128 then return ('control character 0x%02x at byte %d'):format(value, at) end
    local last = character_end(line, at)
    if not last then return ('byte 0x%02x at byte %d is not UTF-8'):format(value, at) end
    at = find(line, '[^\32-\126]', last + 1)
  end
end

-- Where `mark` stands, which must be exactly once; or nil and what is wrong.
local function only_place(line, mark)
  local first, last = find(line, mark, 1, true)
  if not first then return nil, ("no '%s'"):format(mark) end
  if find(line, mark, first + 1, true) then return nil, ("more than one '%s'"):format(mark) end
  return first, last
end

local function bad_edges(part, name)
  if sub(part, 1, 1) == ' ' then return ('%s begins with a space'):format(name) end
  if sub(part, -1) == ' ' then return ('%s ends with a space'):format(name) end
end

local function bad_parts(question, cot, answer)
  if question == '' then return 'the question is empty' end
  if answer == '' then return 'the answer is empty' end
  return bad_edges(question, 'the question') or bad_edges(cot, 'the CoT') or bad_edges(answer, 'the answer')
end

--- Cuts a line into the parts of an example.
---@param line string without its line end
---@return string? question nil when the line is malformed
---@return string cot_or_problem the CoT, or what is wrong with the line
---@return string? answer
function example_file.parse(line)
  if line == '' then return nil, 'the line is empty' end
  local problem = bad_bytes(line)
  if problem then return nil, problem end
  if find(line, vocabulary.EOS, 1, true) then return nil, "it contains the reserved symbol '<eos>'" end

  local bars, bars_end = only_place(line, '||')
  if not bars then return nil, bars_end end
  local mark, mark_end = only_place(line, vocabulary.SEPARATOR)
  if not mark then return nil, mark_end end
  if mark < bars then return nil, "'####' comes before '||'" end
  if sub(line, mark - 1, mark - 1) ~= ' ' or sub(line, mark_end + 1, mark_end + 1) ~= ' ' then
    return nil, "'####' needs a space before and after it"
  end

  local question, answer = sub(line, 1, bars - 1), sub(line, mark_end + 2)
  local cot = sub(line, bars_end + 1, mark - 2)
  problem = bad_parts(question, cot, answer)
  if problem then return nil, problem end
  return question, cot, answer
end

--- The line of an example; `parse` takes it apart again.
---@param question string
---@param cot string
---@param answer string
---@return string
function example_file.format(question, cot, answer)
  return question .. '||' .. cot .. ' ' .. vocabulary.SEPARATOR .. ' ' .. answer
end

--- What is wrong with a text that is to be the question of an example.
---@param question string
---@return string? problem nil: nothing
function example_file.problem_of_question(question)
  local parsed, problem = example_file.parse(example_file.format(question, '', '0'))
  return not parsed and problem or nil
end

--- Goes over the examples of a file: `for number, question, cot, answer in …`.
---@param path string
---@param where? string what named the file, at the start of an error: 'dataset.train'
---@return fun(): integer?, string?, string?, string?
---raises an error at the first malformed line, with its number
function example_file.examples(path, where)
  local reader = open(path, where)
  return function()
    local number, line = next_line(reader)
    if not number then return nil end
    local question, cot, answer = example_file.parse(line)
    if not question then
      close(reader)
      errors.raise("%s: line %d: %s (`icot data check` lists all such lines)", path, number, cot)
    end
    return number, question, cot, answer
  end
end

return example_file
