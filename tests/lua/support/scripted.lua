--- A stand-in for a model that writes given texts and notes at which positions it was asked.
local tensor = require 'icot.tensor'

local scripted = {}

local Scripted = {}
Scripted.__index = Scripted

--- The texts belong to the prompts in their order; `calls` counts forward passes, `positions[i]` and `tokens[i]` are
--- what was fed for prompt i, `rows[k]` those that pass k was to give ('all' if it wasn't told).
---@param config icot.GPT2Config
---@param texts integer[][]
function scripted.new(config, texts)
  local self = { config = config, texts = texts, positions = {}, tokens = {}, rows = {}, written = {}, calls = 0 }
  for i = 1, #texts do self.positions[i], self.tokens[i], self.written[i] = {}, {}, 0 end
  return setmetatable(self, Scripted)
end

function Scripted:hidden(tokens, positions, context, rows)
  local starts, slots = context.cu_seqlens:totable(), context.cache.slots:totable()
  local lengths = context.cache.lengths:totable()
  tokens, positions = tokens:totable(), positions:totable()
  self.calls, self.active = self.calls + 1, {}
  self.rows[self.calls] = rows and rows:totable() or 'all'
  for b, slot in ipairs(slots) do
    local i = slot + 1
    assert(lengths[b] == #self.tokens[i], 'the cache holds another number of tokens than were fed')
    self.active[b] = i
    for row = starts[b] + 1, starts[b + 1] do
      table.insert(self.tokens[i], tokens[row])
      table.insert(self.positions[i], positions[row])
    end
  end
  return tensor.zeros { #tokens, 1 }
end

function Scripted:logits()
  local rows = {}
  for b, i in ipairs(self.active) do
    self.written[i] = self.written[i] + 1
    local row = {}
    for token = 0, self.config.vocab_size - 1 do row[token + 1] = token == self.texts[i][self.written[i]] and 1 or 0 end
    rows[b] = row
  end
  return tensor.new(rows)
end

function Scripted:decoding() return self end

function Scripted.loss_terms(_, packed) return packed:targets() end

--- Teacher-forced, it hits every target.
function Scripted:loss(packed)
  local raw, rows = packed.raw, {}
  for r = 0, tonumber(raw.n_targets) - 1 do
    rows[r + 1] = {}
    for token = 0, self.config.vocab_size - 1 do rows[r + 1][token + 1] = token == raw.targets[r] and 1 or 0 end
  end
  return tensor.new(0.25), tensor.new(rows), tensor.from_ints(raw.targets, tonumber(raw.n_targets))
end

return scripted
