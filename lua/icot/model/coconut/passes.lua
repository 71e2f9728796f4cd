--- In which order the rows of packed sequences can be computed that have continuous thoughts in them.
---
---     question <eos> thought 1 … thought n cot' <eos> #### answer <eos>
---
--- What enters at a thought is the last hidden state of the row before it, so a sequence takes n + 1 passes: `question
--- <eos>`; thought 1; …; and at last thought n with all that follows it. A sequence without thoughts has the last pass
--- alone. Each row is computed in one of them, and attends to those of its sequence that were computed before.
local passes = {}

---@class icot.coconut.Pass
---@field number integer from 1 on
---@field rows integer[] of the batch (or part), that are computed in this pass
---@field last_rows integer[] one per sequence, counted within the pass: their states become thoughts; none in the last
---@field thoughts { row: integer, state: integer }[] rows of the pass where thoughts enter, and which of all states so
---   far they are
---@field cu_seqlens integer[] where the rows of each of its sequences begin among those of the pass
---@field starts integer[] where each of its sequences begins in the batch (or part)
---@field lengths integer[] how many of its rows were computed before
---@field before { rows: integer, last_rows: integer, thoughts: integer } how many of each the same pass has of the
---   sequences of the whole batch before this part

---@class icot.coconut.Span a sequence, its rows counted from the beginning of the batch
---@field start integer
---@field eos integer
---@field stop integer the row after its last
---@field thoughts integer

local function spans_of(raw)
  local spans = {}
  for b = 0, tonumber(raw.n_examples) - 1 do
    spans[b + 1] = {
      start = raw.cu_seqlens[b], eos = raw.eos_rows[b], stop = raw.cu_seqlens[b + 1], thoughts = raw.pauses[b],
    }
  end
  return spans
end

-- The rows of a sequence in pass `number` of `count`, first … last - 1; nil: none.
local function rows_in(span, number, count)
  if number == count then return span.thoughts == 0 and span.start or span.eos + span.thoughts, span.stop end
  if span.thoughts < number then return nil end
  return number == 1 and span.start or span.eos + number - 1, span.eos + number
end

-- Counts the rows first … last - 1 of a sequence that lies before the part.
local function count_before(before, span, first, last)
  before.rows, before.last_rows = before.rows + last - first, before.last_rows + 1
  before.thoughts = before.thoughts + (first > span.eos and 1 or 0)
end

-- Adds the rows first … last - 1 of a sequence to a pass.
local function add_rows(pass, span, first, last, offset)
  for row = first, last - 1 do pass.rows[#pass.rows + 1] = row - offset end
  pass.cu_seqlens[#pass.cu_seqlens + 1] = #pass.rows
  pass.starts[#pass.starts + 1], pass.lengths[#pass.lengths + 1] = span.start - offset, first - span.start
end

local function new_pass(number)
  return {
    number = number, rows = {}, last_rows = {}, thoughts = {}, cu_seqlens = { 0 }, starts = {}, lengths = {},
    before = { rows = 0, last_rows = 0, thoughts = 0 },
  }
end

-- `states` has the newest state of each sequence, by its span: the how manieth of all it is, from 0; and their count.
local function make_pass(number, count, spans, part, states)
  local pass = new_pass(number)
  for b = 1, part.first + part:examples() do
    local span = spans[b]
    local first, last = rows_in(span, number, count)
    if first and b <= part.first then
      count_before(pass.before, span, first, last)
    elseif first then
      if first > span.eos then
        pass.thoughts[#pass.thoughts + 1] = { row = #pass.rows, state = states[span] }
      end
      add_rows(pass, span, first, last, part.first_token)
      if number < count then
        pass.last_rows[#pass.last_rows + 1] = #pass.rows - 1
        states[span], states.count = states.count, states.count + 1
      end
    end
  end
  return pass
end

--- The passes of packed sequences.
---@param packed icot.Batch|icot.BatchPart
---@return icot.coconut.Pass[] passes in order; one alone where no sequence of the whole batch has a thought. In a part
---   some may be empty
function passes.of(packed)
  local spans, most, list = spans_of(packed.raw), 0, {}
  for _, span in ipairs(spans) do most = math.max(most, span.thoughts) end
  local states = { count = 0 }
  for number = 1, most + 1 do list[number] = make_pass(number, most + 1, spans, packed, states) end
  return list
end

return passes
