--- Hidden states of a teacher, at single rows of a packed batch.
---
--- State l, from 1 to L, is what enters block l: the first is the embedding of a token, as in Hugging Face's
--- `hidden_states` without the last. (icot.probe.states counts what leaves a block by that block: its layer l enters
--- block l + 1.)
local ints = require('icot.tensor.rows').ints
local scope = require 'icot.engine.scope'

local states = {}

-- ---- The teacher's diagonal ---------------------------------------------------------------------

--- Where a teacher's state is read: layer by layer further on in the CoT, from its first token to its last, so that the
--- states of all layers together stand for all of it (Deng et al. 2023).
---@param layer integer l, from 1 to `layers`
---@param layers integer L
---@param length integer m, tokens of the CoT
---@return integer position in the CoT, from 0: round((l-1)·(m-1)/(L-1)); -1, the <eos> before it, if there is no CoT
function states.diagonal(layer, layers, length)
  if length == 0 then return -1 end
  return math.floor((layer - 1) * (length - 1) / math.max(layers - 1, 1) + 0.5)
end

-- Tokens of the CoT of each sequence: those between its first <eos>, whose row is given, and the next.
local function cot_lengths(sequences, eos_rows)
  local tokens, lengths = sequences.raw.tokens + sequences.first_token, {}
  for b, row in ipairs(eos_rows) do
    local length = 0
    while tokens[row + 1 + length] ~= tokens[row] do length = length + 1 end
    lengths[b] = length
  end
  return lengths
end

local function rows_of(layer, layers, eos_rows, lengths)
  local rows = {}
  for b, row in ipairs(eos_rows) do rows[b] = row + 1 + states.diagonal(layer, layers, lengths[b]) end
  return ints(rows)
end

--- The states of a teacher along the diagonal of each CoT, without gradients.
---@param teacher icot.GPT2
---@param sequences icot.Batch|icot.BatchPart with all their CoT
---@return icot.Tensor[] states (B, C) for each layer
function states.of_teacher(teacher, sequences)
  local layers, eos_rows = teacher.config.layers, sequences:eos_rows()
  local lengths, inputs, found = cot_lengths(sequences, eos_rows), sequences:tensors(), {}
  scope.no_grad(teacher.hidden, teacher, inputs.tokens, inputs.positions, {
    cu_seqlens = inputs.cu_seqlens,
    enter = function(layer, x)
      found[layer] = x:embedding(rows_of(layer, layers, eos_rows, lengths))
      return layer < layers and x or nil
    end,
  })
  return found
end

--- Floating-point operations of a forward pass as far as the last block: all that reading states takes.
---@param gpt2 icot.GPT2
---@param n_tokens integer
---@param pairs number sum over the sequences of their squared lengths
---@return number
function states.forward_flops(gpt2, n_tokens, pairs)
  local blocks, width = gpt2.config.layers - 1, gpt2.config.width
  return blocks * (2 * 12 * width * width * n_tokens + 2 * width * pairs)
end

return states
