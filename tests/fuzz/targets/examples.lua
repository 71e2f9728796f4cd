--- A file of examples: what is read as a dataset prints as the lines of the file, and `icot data check` counts it.
local example_check = require 'icot.data.example_check'
local example_file = require 'icot.text.example_file'
local harness = require 'tests.fuzz.harness'
local parts = require 'tests.fuzz.parts'
local text_files = require 'icot.data.text_files'

local tokenizers = { 'word', 'character' }

-- The lines that are examples, after `icot data check` has seen them all.
local function check_file(path, tokenizer)
  local report = example_check.file(path, 'data', text_files.counter(tokenizer), nil, function(number, problem)
    assert(number > 0)
    harness.check_message(problem)
  end)
  local lines = {}
  for _, line in example_file.lines(path) do
    if example_file.parse(line) then lines[#lines + 1] = line end
  end
  assert(#lines == report.examples)
  return lines, report.malformed
end

local function check_dataset(data, lines)
  assert(data.train:size() == #lines)
  for i, line in ipairs(lines) do assert(data.train:text(i - 1) == line, 'an example prints as another line') end
end

return function(folder)
  local path = folder .. '/examples.txt'
  return function(bytes)
    parts.write(path, bytes)
    local tokenizer = tokenizers[#bytes % 2 + 1]
    local lines, malformed = check_file(path, tokenizer)
    local data = text_files.load('text', { train = path, tokenizer = tokenizer })
    local ok, problem = pcall(check_dataset, data, lines)
    data:free()
    if not ok then error(problem, 0) end
    assert(malformed == 0, 'a malformed line was taken')
  end
end
