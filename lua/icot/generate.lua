--- Greedy decoding with a KV cache, many ragged prompts at a time; finished sequences leave the batch.
local ffi = require 'ffi'
local cleanup = require 'icot.cleanup'
local interrupt = require 'icot.interrupt'
local scope = require 'icot.scope'
local tensor = require 'icot.tensor'

local generate = {}

---@class icot.KVCache keys and values of all layers, and which rows this forward pass uses
---@field keys icot.Tensor[] per layer, (slots, capacity, width)
---@field values icot.Tensor[]
---@field slots icot.Tensor int32 (B)
---@field lengths icot.Tensor int32 (B): tokens cached before this pass
local KVCache = {}
KVCache.__index = KVCache

--- A cache for `slots` sequences of up to `capacity` tokens; lives until freed.
---@param config icot.GPT2Config
---@param slots integer
---@param capacity integer
---@return icot.KVCache
function generate.cache(config, slots, capacity)
  local self = { keys = {}, values = {} }
  local made = scope.all_or_none(function()
    local empty = {}
    for i = 1, 2 * config.layers do empty[i] = tensor.empty { slots, capacity, config.width } end
    return empty
  end)
  for layer = 1, config.layers do self.keys[layer], self.values[layer] = made[2 * layer - 1], made[2 * layer] end
  return setmetatable(self, KVCache)
end

function KVCache:free()
  for layer = 1, #self.keys do
    self.keys[layer]:free()
    self.values[layer]:free()
  end
end

---@class icot.Sequence a prompt and what is written after it, on its way through the forward passes
---@field index integer of the prompt
---@field slot integer
---@field length integer tokens in the cache
---@field count integer of the tokens, so many are what the next pass reads
---@field tokens integer[]
---@field positions integer[]
---@field place? fun(written: integer[], position: integer): integer see icot.Prompt
---@field given? icot.GivenTokens

local int_array = ffi.typeof('int32_t[?]')

--- One forward pass over new tokens of the sequences in `active`; the most likely next token of each.
---@param model icot.GPT2
---@param cache icot.KVCache
---@param active icot.Sequence[]
---@param enter? fun(layer: integer, x: icot.Tensor): icot.Tensor see icot.Context
---@return ffi.cdata* next int32_t[#active]
local function advance(model, cache, active, enter)
  local sequences, rows, row = #active, 0, 0
  for _, sequence in ipairs(active) do rows = rows + sequence.count end
  local tokens, positions = int_array(rows), int_array(rows)
  local starts, last = int_array(sequences + 1), int_array(sequences)
  local slots, lengths = int_array(sequences), int_array(sequences)
  for b, sequence in ipairs(active) do
    for i = 1, sequence.count do
      tokens[row], positions[row] = sequence.tokens[i], sequence.positions[i]
      row = row + 1
    end
    starts[b], last[b - 1] = row, row - 1
    slots[b - 1], lengths[b - 1] = sequence.slot, sequence.length
  end
  local ints = tensor.from_ints
  cache.slots, cache.lengths = ints(slots, sequences), ints(lengths, sequences)
  local context = { cu_seqlens = ints(starts, sequences + 1), cache = cache, enter = enter }
  local wanted = rows > sequences and ints(last, sequences) or nil -- nil: all rows
  local hidden = model:hidden(ints(tokens, rows), ints(positions, rows), context, wanted)
  return (model:logits(hidden):argmax():read())
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

---@class icot.GivenTokens what is read in between, without being written by the model
---@field most integer tokens, all together
---@field after fun(written: integer[]): integer[] those that follow the token written last, at the next positions

local function start(prompt, index)
  return {
    index = index, slot = index - 1, length = 0, count = #prompt.tokens,
    tokens = prompt.tokens, positions = prompt.positions, place = prompt.place, given = prompt.given,
  }
end

-- What a sequence reads next: the token that it has written last, and what is given after it.
local function read_on(sequence, written)
  local position = sequence.positions[sequence.count] + 1
  if sequence.place then position = sequence.place(written, position) end
  if sequence.length == 0 then sequence.tokens, sequence.positions = {}, {} end -- these were the prompt's
  sequence.length = sequence.length + sequence.count
  local tokens, positions = sequence.tokens, sequence.positions
  tokens[1], positions[1], sequence.count = written[#written], position, 1
  if not sequence.given then return end
  for i, token in ipairs(sequence.given.after(written)) do
    tokens[i + 1], positions[i + 1], sequence.count = token, position + i, i + 1
  end
end

--- Continues prompts greedily.
---@param model icot.GPT2
---@param prompts icot.Prompt[]
---@param options icot.GenerateOptions
---@return integer[][] written tokens per prompt, without the prompt
---raises what icot.interrupt does when the user ends the program.
function generate.greedy(model, prompts, options)
  local written, active, longest = {}, {}, 0
  for i, prompt in ipairs(prompts) do
    longest = math.max(longest, #prompt.tokens + (prompt.given and prompt.given.most or 0))
    written[i] = {}
    active[i] = start(prompt, i)
  end
  if #prompts == 0 or options.max_new_tokens < 1 then return written end
  local cache, enter = generate.cache(model.config, #prompts, longest + options.max_new_tokens), options.enter

  local function run()
    while #active > 0 do
      interrupt.check()
      local next_tokens = scope.run(advance, model, cache, active, enter)
      enter = nil
      local going_on = {}
      for b, sequence in ipairs(active) do
        local text = written[sequence.index]
        text[#text + 1] = next_tokens[b - 1]
        read_on(sequence, text)
        local ends = options.is_finished(text) or #text >= options.max_new_tokens
          or sequence.positions[sequence.count] >= model.config.context
        if not ends then going_on[#going_on + 1] = sequence end
      end
      active = going_on
    end
  end
  cleanup.always(function() cache:free() end, scope.no_grad, run)
  return written
end

return generate
