--- A corpus: the examples of one split as token ids in C arrays (core/text).
---
--- Examples are numbered from 0, as in the batches of the core. The memory isn't the collector's:
--- `free` gives it back; the collector is only the net below for a corpus that was forgotten.
local ffi = require 'ffi'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local example_file = require 'icot.text.example_file'

local C = core.C

local corpus = {}

---@class icot.Corpus
---@field vocabulary icot.Vocabulary
---@field handle ffi.cdata*|nil icot_corpus *; nil once the corpus was freed
local Corpus = {}
Corpus.__index = Corpus

--- An empty corpus.
---@param vocabulary icot.Vocabulary
---@param examples? integer make room for this many examples …
---@param tokens? integer … of this many tokens together, separators not counted
---@return icot.Corpus
function corpus.new(vocabulary, examples, tokens)
  local out = ffi.new('icot_corpus *[1]')
  core.check(C.icot_corpus_create(vocabulary.size, out))
  local handle = ffi.gc(out[0], C.icot_corpus_free)
  core.check(C.icot_corpus_reserve(handle, examples or 0, tokens or 0))
  return setmetatable({ vocabulary = vocabulary, handle = handle }, Corpus)
end

--- Gives the memory back; the corpus can't be used any more. May be called again.
function Corpus:free()
  if self.handle then C.icot_corpus_free(ffi.gc(self.handle, nil)) end
  self.handle = nil
end

local function live(self)
  return self.handle or errors.raise('corpus: it was freed and cannot be used any more')
end

--- Number of examples.
---@return integer
function Corpus:size()
  return tonumber(C.icot_corpus_size(live(self)))
end

--- Memory it holds, in bytes.
---@return integer
function Corpus:bytes()
  return tonumber(C.icot_corpus_bytes(live(self)))
end

--- Tells corpora apart: equal for equal examples, another for nearly all others.
---@return string 16 hexadecimal digits
function Corpus:digest()
  return bit.tohex(C.icot_corpus_digest(live(self)))
end

-- ---- Adding examples ----------------------------------------------------------------------------

--- Adds an example given as C arrays of int32.
---@param question ffi.cdata* ids, (n_question)
---@param n_question integer at least 1
---@param cot ffi.cdata* ids, (n_cot)
---@param n_cot integer
---@param answer ffi.cdata* ids, (n_answer)
---@param n_answer integer at least 1
function Corpus:append_arrays(question, n_question, cot, n_cot, answer, n_answer)
  core.check(C.icot_corpus_append(live(self), question, n_question, cot, n_cot, answer, n_answer))
end

--- Adds an example given as Lua arrays.
---@param question integer[] ids, at least one
---@param cot integer[] ids
---@param answer integer[] ids, at least one
function Corpus:append(question, cot, answer)
  local function array(ids)
    return ffi.new('int32_t[?]', #ids, ids), #ids
  end
  local q, n_question = array(question)
  local c, n_cot = array(cot)
  local a, n_answer = array(answer)
  self:append_arrays(q, n_question, c, n_cot, a, n_answer)
end

--- Says where the reasoning steps of the example added last end. Once per example; examples need not be marked.
---@param ends ffi.cdata* int32, (n) CoT tokens counted from its start, ascending; the last is the CoT's length
---@param n integer 0 only if the CoT is empty
---raises an error when these are no such ends, or the example is marked already
function Corpus:mark_step_arrays(ends, n)
  core.check(C.icot_corpus_mark_steps(live(self), ends, n))
end

--- The same, given as a Lua array.
---@param ends integer[]
function Corpus:mark_steps(ends)
  self:mark_step_arrays(ffi.new('int32_t[?]', #ends, ends), #ends)
end

-- ---- Reading them -------------------------------------------------------------------------------

local lengths_out = ffi.new('icot_example')

--- Lengths of the parts of an example, in tokens without separators.
---@param index integer 0 … size-1
---@return integer question, integer cot, integer answer
function Corpus:lengths(index)
  core.check(C.icot_corpus_lengths(live(self), index, lengths_out))
  return tonumber(lengths_out.question), tonumber(lengths_out.cot), tonumber(lengths_out.answer)
end

--- The ids of an example.
---@param index integer 0 … size-1
---@return { question: integer[], cot: integer[], answer: integer[] }
function Corpus:example(index)
  local n_question, n_cot, n_answer = self:lengths(index)
  local total = n_question + n_cot + n_answer
  local tokens = ffi.new('int32_t[?]', total)
  core.check(C.icot_corpus_read(self.handle, index, tokens, total))
  local function part(first, count)
    local ids = {}
    for i = 1, count do ids[i] = tokens[first + i - 1] end
    return ids
  end
  return {
    question = part(0, n_question),
    cot = part(n_question, n_cot),
    answer = part(n_question + n_cot, n_answer),
  }
end

local ends_out, n_out = ffi.new('const int32_t *[1]'), ffi.new('int64_t[1]')

--- Where the reasoning steps of an example end.
---@param index integer 0 … size-1
---@return integer[]? ends CoT tokens counted from its start, the last is the CoT's length; nil: they were never marked
function Corpus:steps(index)
  core.check(C.icot_corpus_steps(live(self), index, ends_out, n_out))
  local n = tonumber(n_out[0])
  if n < 0 then return nil end
  local ends = {}
  for k = 1, n do ends[k] = ends_out[0][k - 1] end
  return ends
end

--- How many reasoning steps an example has.
---@param index integer 0 … size-1
---@return integer? count nil: they were never marked
function Corpus:count_steps(index)
  core.check(C.icot_corpus_steps(live(self), index, ends_out, n_out))
  return n_out[0] >= 0 and tonumber(n_out[0]) or nil
end

--- Where what a schedule counts ends: of a CoT of six tokens 1, 2, 3, 4, 5, 6; or, say, 2, 3, 6 of its three steps.
---@param index integer 0 … size-1
---@param unit 'token'|'step'
---@return integer[] ends CoT tokens counted from its start
---raises an error when steps are wanted, and they were never marked
function Corpus:ends(index, unit)
  if unit == 'step' then
    return self:steps(index) or errors.raise('the reasoning steps of example %d are not marked', index + 1)
  end
  local ends = {}
  for i = 1, select(2, self:lengths(index)) do ends[i] = i end
  return ends
end

--- The question of an example.
---@param index integer 0 … size-1
---@return string
function Corpus:question(index)
  return self.vocabulary:decode_part(self:example(index).question)
end

--- The texts of an example.
---@param index integer 0 … size-1
---@return string question, string cot, string answer
function Corpus:texts(index)
  local example, vocabulary = self:example(index), self.vocabulary
  return vocabulary:decode_part(example.question), vocabulary:decode_part(example.cot),
    vocabulary:decode_part(example.answer)
end

--- An example as a line `question||cot #### answer`.
---@param index integer 0 … size-1
---@return string
function Corpus:text(index)
  return example_file.format(self:texts(index))
end

return corpus
