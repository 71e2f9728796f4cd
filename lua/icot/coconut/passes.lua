--- In which order the rows of packed sequences can be computed that have continuous thoughts in them.
---
---     question <eos> thought 1 … thought n cot' <eos> #### answer <eos>
---
--- What enters at a thought is the last hidden state of the row before it, so a sequence takes n + 1 passes: `question
--- <eos>`; thought 1; …; and at last thought n with all that follows it. A sequence without thoughts has the last pass
--- alone. Each row is computed once, in one of them, and attends to those of its sequence that were computed before.
local passes = {}

---@class icot.coconut.Pass
---@field rows integer[] of the batch (or part), that are computed in this pass
---@field before integer rows of the same pass of the whole batch that lie before those of this part
---@field last_rows integer[] one per sequence, counted within the pass: their states become thoughts; none in the last
---@field last_rows_before integer as `before`
---@field thoughts { row: integer, state: integer }[] rows of the pass where thoughts enter, and which of all states so
---   far they are
---@field thoughts_before integer as `before`
---@field starts integer[] where each sequence begins in `attended`, as in cu_seqlens
---@field attended integer[] rows that are attended to, this pass's own among them, counted by when they were computed
---@field attended_before integer as `before`
---@field own integer[] which of `attended` are those of this pass

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

-- The rows of a sequence in a pass, first … last - 1; nil: none. Pass p, from 1 on, of `count`.
local function rows_in(span, p, count)
  if p == count then return span.thoughts == 0 and span.start or span.eos + span.thoughts, span.stop end
  if span.thoughts < p then return nil end
  return p == 1 and span.start or span.eos + p - 1, span.eos + p
end

-- Adds the rows first … last - 1 of a sequence to a pass.
local function add(pass, span, first, last, order, offset)
  for row = span.start, last - 1 do
    if row >= first then
      pass.own[#pass.own + 1] = #pass.attended
      pass.rows[#pass.rows + 1] = row - offset
      order[row], order.n = order.n, order.n + 1
    end
    pass.attended[#pass.attended + 1] = order[row]
  end
  pass.starts[#pass.starts + 1] = #pass.attended
end

local function new_pass()
  return {
    rows = {}, before = 0, last_rows = {}, last_rows_before = 0, thoughts = {}, thoughts_before = 0,
    starts = { 0 }, attended = {}, attended_before = 0, own = {},
  }
end

-- Counts the rows of a sequence that lies before the part.
local function count_before(pass, span, first, last, has_thought)
  pass.before, pass.attended_before = pass.before + last - first, pass.attended_before + last - span.start
  pass.last_rows_before = pass.last_rows_before + 1
  pass.thoughts_before = pass.thoughts_before + (has_thought and 1 or 0)
end

-- Pass p of the sequences of a part; `state_of`: which state so far is the newest of each sequence.
local function make_pass(spans, part, p, count, order, state_of)
  local pass = new_pass()
  for b, span in ipairs(spans) do
    local first, last = rows_in(span, p, count)
    local has_thought = first and first > span.eos
    if first and b <= part.first then
      count_before(pass, span, first, last, has_thought)
    elseif first and b <= part.first + part:examples() then
      if has_thought then pass.thoughts[#pass.thoughts + 1] = { row = #pass.rows, state = state_of[b] } end
      add(pass, span, first, last, order, part.first_token)
      if p < count then
        pass.last_rows[#pass.last_rows + 1] = #pass.rows - 1
        state_of[b], state_of.n = state_of.n, state_of.n + 1
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
  local order, state_of = { n = 0 }, { n = 0 }
  for p = 1, most + 1 do list[p] = make_pass(spans, packed, p, most + 1, order, state_of) end
  return list
end

return passes
