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
---@field starts integer[] where each sequence begins in `attended`, as in cu_seqlens
---@field attended integer[] rows that are attended to, this pass's own among them, counted by when they were computed
---@field own integer[] which of `attended` are those of this pass
---@field before { rows: integer, last_rows: integer, thoughts: integer, attended: integer } how many of each the same
---   pass has of the sequences of the whole batch before this part

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

-- Numbers things in the order in which they come.
local function numbering()
  local count = 0
  return function()
    count = count + 1
    return count - 1
  end
end

-- Counts the rows first … last - 1 of a sequence that lies before the part.
local function count_before(before, span, first, last)
  before.rows, before.attended = before.rows + last - first, before.attended + last - span.start
  before.last_rows = before.last_rows + 1
  before.thoughts = before.thoughts + (first > span.eos and 1 or 0)
end

---@class icot.coconut.Progress what the passes so far have left
---@field computed table<integer, integer> of each row of the batch that was computed: the how manieth it was, from 0
---@field state_of table<icot.coconut.Span, integer> its newest state, likewise
---@field next_row fun(): integer
---@field next_state fun(): integer

-- Adds the rows first … last - 1 of a sequence to a pass.
local function add_rows(pass, span, first, last, offset, progress)
  for row = span.start, last - 1 do
    if row >= first then
      pass.own[#pass.own + 1] = #pass.attended
      pass.rows[#pass.rows + 1] = row - offset
      progress.computed[row] = progress.next_row()
    end
    pass.attended[#pass.attended + 1] = progress.computed[row]
  end
  pass.starts[#pass.starts + 1] = #pass.attended
end

local function new_pass(number)
  return {
    number = number, rows = {}, last_rows = {}, thoughts = {}, starts = { 0 }, attended = {}, own = {},
    before = { rows = 0, last_rows = 0, thoughts = 0, attended = 0 },
  }
end

local function make_pass(number, count, spans, part, progress)
  local pass = new_pass(number)
  for b = 1, part.first + part:examples() do
    local span = spans[b]
    local first, last = rows_in(span, number, count)
    if first and b <= part.first then
      count_before(pass.before, span, first, last)
    elseif first then
      if first > span.eos then
        pass.thoughts[#pass.thoughts + 1] = { row = #pass.rows, state = progress.state_of[span] }
      end
      add_rows(pass, span, first, last, part.first_token, progress)
      if number < count then
        pass.last_rows[#pass.last_rows + 1] = #pass.rows - 1
        progress.state_of[span] = progress.next_state()
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
  local progress = { computed = {}, state_of = {}, next_row = numbering(), next_state = numbering() }
  for number = 1, most + 1 do list[number] = make_pass(number, most + 1, spans, packed, progress) end
  return list
end

return passes
