--- Greedy decoding with a KV cache, many ragged prompts at a time; finished sequences leave the batch.
local ffi = require 'ffi'
local cleanup = require 'icot.base.cleanup'
local interrupt = require 'icot.engine.interrupt'
local kv_cache = require 'icot.gpt2.kv_cache'
local rows = require 'icot.tensor.rows'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local generate = {}

---@class icot.Sequence a prompt and what is written after it, on its way through the forward passes
---@field index integer of the prompt
---@field slot integer
---@field length integer tokens in the cache
---@field count integer of the tokens; this many are what the next pass reads
---@field tokens integer[]
---@field positions integer[]
---@field place? fun(written: integer[], position: integer): integer see icot.Prompt
---@field given? icot.GivenTokens
---@field thoughts integer that are still to come before it writes
---@field thought? integer row of the last pass whose state it reads next, in the place of a token

local int_array = ffi.typeof('int32_t[?]')

-- The `enter` (icot.Context) that puts thoughts where their sequences have them; nil where none has any.
local function entering_thoughts(model, active, states, n_rows)
  local places, sources, positions, row = {}, {}, {}, 0
  for _, sequence in ipairs(active) do
    row = row + sequence.count
    if sequence.thought then
      places[#places + 1], sources[#sources + 1] = row - 1, sequence.thought
      positions[#positions + 1] = sequence.positions[1]
    end
  end
  if #places == 0 then return nil end
  return rows.entering(n_rows, places, model:thoughts(states:embedding(rows.ints(sources)), rows.ints(positions)))
end

--- One forward pass over new tokens of the sequences in `active`; the most likely next token of each.
---@param model icot.GPT2
---@param cache icot.KVCache
---@param active icot.Sequence[]
---@param states? icot.Tensor (sequences of the pass before, width) what those in thought continue from
---@param enter? fun(layer: integer, x: icot.Tensor): icot.Tensor see icot.Context
---@return ffi.cdata* next int32_t[#active]
---@return icot.Tensor? states (#active, width), to be freed, where a sequence has thoughts to come
local function advance(model, cache, active, states, enter)
  local sequences, n_rows, row, is_thinking = #active, 0, 0, false
  for _, sequence in ipairs(active) do n_rows = n_rows + sequence.count end
  local tokens, positions = int_array(n_rows), int_array(n_rows)
  local starts, last = int_array(sequences + 1), int_array(sequences)
  local slots, lengths = int_array(sequences), int_array(sequences)
  for b, sequence in ipairs(active) do
    for i = 1, sequence.count do
      tokens[row], positions[row] = sequence.tokens[i], sequence.positions[i]
      row = row + 1
    end
    starts[b], last[b - 1] = row, row - 1
    slots[b - 1], lengths[b - 1] = sequence.slot, sequence.length
    is_thinking = is_thinking or sequence.thoughts > 0
  end
  local ints = tensor.from_ints
  cache.slots, cache.lengths = ints(slots, sequences), ints(lengths, sequences)
  local context = {
    cu_seqlens = ints(starts, sequences + 1), cache = cache,
    enter = enter or entering_thoughts(model, active, states, n_rows),
  }
  local wanted = n_rows > sequences and ints(last, sequences) or nil -- nil: all rows
  local hidden = model:hidden(ints(tokens, n_rows), ints(positions, n_rows), context, wanted)
  return model:logits(hidden):argmax():read(), is_thinking and hidden:keep() or nil
end

---@class icot.GenerateOptions
---@field max_new_tokens integer most tokens to write for a prompt
---@field is_finished fun(written: integer[]): boolean whether a sequence is complete after its last token
---@field enter? fun(layer: integer, x: icot.Tensor): icot.Tensor see icot.Context; for the pass over all prompts

---@class icot.Prompt
---@field tokens integer[]
---@field positions integer[]
---@field place? fun(written: integer[], position: integer): integer position of the token written last; `position` is
---   the one after the token before it, which it gets if there is no such function
---@field given? icot.GivenTokens
---@field thoughts? integer continuous thoughts after the prompt: so often it continues from its own last hidden state

---@class icot.GivenTokens what is read in between, without being written by the model
---@field most integer tokens, all together
---@field after fun(written: integer[]): integer[] those that follow the token written last, at the next positions

local function start(prompt, index)
  return {
    index = index, slot = index - 1, length = 0, count = #prompt.tokens,
    tokens = prompt.tokens, positions = prompt.positions, place = prompt.place, given = prompt.given,
    thoughts = prompt.thoughts or 0,
  }
end

-- What it has read is in the cache now.
local function begin_next(sequence)
  if sequence.length == 0 then sequence.tokens, sequence.positions = {}, {} end -- these were the prompt's
  sequence.length, sequence.count = sequence.length + sequence.count, 1
end

-- What a sequence in thought reads next: its state in row `row` of the last pass. (No token is read there.)
local function think_on(sequence, row)
  local position = sequence.positions[sequence.count] + 1
  begin_next(sequence)
  sequence.tokens[1], sequence.positions[1] = 0, position
  sequence.thoughts, sequence.thought = sequence.thoughts - 1, row
end

-- What a sequence reads next: the token that it has written last, and what is given after it.
local function read_on(sequence, written)
  local position = sequence.positions[sequence.count] + 1
  if sequence.place then position = sequence.place(written, position) end
  begin_next(sequence)
  local tokens, positions = sequence.tokens, sequence.positions
  tokens[1], positions[1], sequence.thought = written[#written], position, nil
  if not sequence.given then return end
  for i, token in ipairs(sequence.given.after(written)) do
    tokens[i + 1], positions[i + 1], sequence.count = token, position + i, i + 1
  end
end

---@class icot.Decoding prompts on their way
---@field model icot.GPT2
---@field options icot.GenerateOptions
---@field cache icot.KVCache
---@field written integer[][] so far, per prompt
---@field active icot.Sequence[] those that are not complete
---@field states? icot.Tensor see `advance`

-- Takes in what the last pass gave for a sequence, in row `row`; whether it continues.
local function take(self, sequence, token, row)
  local options = self.options
  if sequence.thoughts > 0 then
    think_on(sequence, row)
  else
    local text = self.written[sequence.index]
    text[#text + 1] = token
    read_on(sequence, text)
    if options.is_finished(text) or #text >= options.max_new_tokens then return false end
  end
  return sequence.positions[sequence.count] < self.model.config.context
end

local function pass(self, enter)
  interrupt.check()
  local next_tokens, states = scope.run(advance, self.model, self.cache, self.active, self.states, enter)
  if self.states then self.states:free() end
  self.states = states
  local going_on = {}
  for b, sequence in ipairs(self.active) do
    if take(self, sequence, next_tokens[b - 1], b - 1) then going_on[#going_on + 1] = sequence end
  end
  self.active = going_on
end

local function run(self)
  pass(self, self.options.enter)
  while #self.active > 0 do pass(self) end
end

--- Continues prompts greedily.
---@param model icot.GPT2
---@param prompts icot.Prompt[]
---@param options icot.GenerateOptions
---@return integer[][] written tokens per prompt, without the prompt
---raises what icot.engine.interrupt does when the user ends the program.
function generate.greedy(model, prompts, options)
  local self, longest = { model = model, options = options, written = {}, active = {} }, 0
  for i, prompt in ipairs(prompts) do
    longest = math.max(longest, #prompt.tokens + (prompt.thoughts or 0) + (prompt.given and prompt.given.most or 0))
    self.written[i], self.active[i] = {}, start(prompt, i)
  end
  if #prompts == 0 or options.max_new_tokens < 1 then return self.written end
  self.cache = kv_cache.new(model.config, #prompts, longest + options.max_new_tokens)
  cleanup.always(function() self.cache:free() end, scope.run, scope.no_grad, run, self) -- states are of that scope
  return self.written
end

return generate
