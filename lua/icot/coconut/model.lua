--- A GPT-2 that reasons in continuous thoughts (Coconut; Hao et al. 2024): where CoT was removed, its own last hidden
--- state goes in again, in the place of a token, a number of times.
---
--- Pauses in a packed batch say where thoughts are (`removal.thoughts`); their embedding is not read.
local EarlierRows = require 'icot.coconut.earlier_rows'
local passes = require 'icot.coconut.passes'
local rows = require 'icot.rows'
local scope = require 'icot.scope'
local tensor = require 'icot.tensor'

-- Rows are counted within each pass, so that each needs a seed of its own to drop others than the one before; and so do
-- thoughts, where they enter.
local OTHER_PASS, OTHER_THOUGHTS = 2 ^ 36, 2 ^ 35

---@class icot.CoconutModel: icot.Model
---@field gpt2 icot.GPT2
---@field has_thoughts true
local Coconut = { has_thoughts = true }
Coconut.__index = Coconut

--- A model around a GPT-2, which it owns from then on.
---@param gpt2 icot.GPT2
---@return icot.CoconutModel
function Coconut.new(gpt2)
  return setmetatable({ gpt2 = gpt2 }, Coconut)
end

-- ---- What is the GPT-2's ------------------------------------------------------------------------

for _, name in ipairs { 'named_parameters', 'parameters', 'count_parameters', 'free', 'hugging_face_tensors',
                        'hugging_face_config' } do
  Coconut[name] = function(self) return self.gpt2[name](self.gpt2) end
end

--- As GPT2:loss_terms.
---@param batch icot.Batch|icot.BatchPart
---@return integer
function Coconut:loss_terms(batch)
  return self.gpt2:loss_terms(batch)
end

-- ---- The passes ---------------------------------------------------------------------------------

-- What dropout draws in a pass of `count`. The last one, the only one without thoughts, draws what a GPT-2 would.
local function dropout_of(dropout, p, count, more)
  if not dropout then return nil end
  return { seed = dropout.seed + (p < count and p * OTHER_PASS or 0) + (more or 0), step = dropout.step }
end

-- The `enter` (icot.Context) that puts thoughts into the rows where they belong; nil: there are none.
local function entering(gpt2, packed, pass, states, dropout)
  if #pass.thoughts == 0 then return nil end
  local places, sources, positions = {}, {}, {}
  for i, thought in ipairs(pass.thoughts) do
    places[i], sources[i] = thought.row, thought.state
    positions[i] = packed.raw.positions[packed.first_token + pass.rows[thought.row + 1]]
  end
  local thoughts = gpt2:thoughts(states:embedding(rows.ints(sources)), rows.ints(positions))
  thoughts = gpt2.transformer.drop(thoughts, { dropout = dropout, first_token = pass.thoughts_before })
  return rows.entering(#pass.rows, places, thoughts)
end

-- Rows of the last pass that predict a target.
local function target_rows(packed, pass)
  local place_of, wanted = {}, {}
  for i, row in ipairs(pass.rows) do place_of[row] = i - 1 end
  for t = 0, packed:targets() - 1 do
    wanted[t + 1] = place_of[packed.raw.target_rows[packed.first_target + t] - packed.first_token]
  end
  return wanted
end

---@class icot.coconut.Run the passes of a batch on their way
---@field earlier icot.EarlierRows
---@field states? icot.Tensor (S, width) that become thoughts, so far
---@field dropout? { seed: integer, step: integer }
---@field watch? fun(name: string, output: icot.Tensor)
---@field count integer of passes

-- Computes pass p; the hidden states of its rows that are `wanted`.
local function compute(self, packed, run, p, pass, wanted, first_wanted)
  local raw, tokens, positions = packed.raw, {}, {}
  for i, row in ipairs(pass.rows) do
    tokens[i], positions[i] = raw.tokens[packed.first_token + row], raw.positions[packed.first_token + row]
  end
  run.earlier:begin(pass)
  return self.gpt2:hidden(rows.ints(tokens), rows.ints(positions), {
    cu_seqlens = rows.ints(pass.starts), cache = run.earlier, watch = run.watch,
    dropout = dropout_of(run.dropout, p, run.count), first_token = pass.before, first_target = first_wanted,
    enter = entering(self.gpt2, packed, pass, run.states, dropout_of(run.dropout, p, run.count, OTHER_THOUGHTS)),
  }, rows.ints(wanted))
end

-- All passes but the last.
local function think(self, packed, list, dropout, watch)
  local run = { earlier = EarlierRows.new(), dropout = dropout, watch = watch, count = #list }
  for p = 1, #list - 1 do
    local pass = list[p]
    if #pass.rows > 0 then -- in a part of a batch there may be none
      local made = compute(self, packed, run, p, pass, pass.last_rows, pass.last_rows_before)
      run.states = run.states and tensor.concat({ run.states, made }, 0) or made
    end
  end
  return run
end

-- ---- Learning and decoding ----------------------------------------------------------------------

--- As GPT2:loss, with the thoughts that precede what is predicted. Gradients flow through all of them.
---@param packed icot.Batch|icot.BatchPart
---@param dropout? { seed: integer, step: integer } while training
---@param watch? fun(name: string, output: icot.Tensor)
---@return icot.Tensor loss scalar
---@return icot.Tensor logits (R, vocab_size)
---@return icot.Tensor targets int32 (R)
function Coconut:loss(packed, dropout, watch)
  local list = passes.of(packed)
  if #list == 1 then return self.gpt2:loss(packed, dropout, watch) end
  local run, last, targets = think(self, packed, list, dropout, watch), list[#list], packed:tensors().targets
  local hidden = compute(self, packed, run, #list, last, target_rows(packed, last), packed.first_target)
  local logits = self.gpt2:logits(hidden)
  return logits:cross_entropy(targets), logits, targets
end

--- The network that writes answers to prompts; icot.generate has it think before that.
---@return icot.GPT2
function Coconut:decoding()
  return self.gpt2
end

--- The `enter` (icot.Context) for one pass of the GPT-2 over whole sequences: it is given the thoughts that it has.
---@param packed icot.Batch
---@return (fun(layer: integer, x: icot.Tensor): icot.Tensor)? enter nil: there are no thoughts
function Coconut:thinking(packed)
  local list = passes.of(packed)
  local run = scope.no_grad(think, self, packed, list)
  local all = { rows = {}, thoughts = {} }
  for row = 0, packed:tokens() - 1 do all.rows[row + 1] = row end
  for _, pass in ipairs(list) do
    for _, thought in ipairs(pass.thoughts) do
      table.insert(all.thoughts, { row = pass.rows[thought.row + 1], state = thought.state })
    end
  end
  return entering(self.gpt2, packed, all, run.states)
end

--- Floating-point operations of one training step: each row is computed once. Those whose states become thoughts pass
--- through all of the last block, too (9 of its 12·width² weights); see GPT2:training_flops.
---@param shape icot.BatchShape
---@return number
function Coconut:step_flops(shape)
  return self.gpt2:step_flops(shape) + 6 * 9 * self.gpt2.config.width ^ 2 * shape.pauses
end

return Coconut
