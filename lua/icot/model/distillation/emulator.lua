--- The emulator: a GPT-2 over `question <eos>` that predicts, layer by layer at the <eos>, the states that a teacher
--- would have along the diagonal of the CoT (Deng et al. 2023).
---
--- Several ways of reasoning may lead from one question to its answer; so a layer first chooses, softly, from a mixture
--- of embeddings. With state and choice it predicts the teacher's state. An LSTM takes the predictions in, from layer
--- to layer, attending to what it gave below; what it gives takes the place of the state, and enters the block.
local nn = require 'icot.nn'
local Projection = require 'icot.model.distillation.projection'
local rows = require 'icot.tensor.rows'
local states = require 'icot.model.distillation.states'
local tensor = require 'icot.tensor'

-- So that emulator and student, which have the same seed, don't drop the same things.
local OTHER_DROPOUT = 2 ^ 32

---@class icot.Emulator: icot.Module
---@field gpt2 icot.GPT2 its last block and layer norm have nothing to do
---@field mixture icot.nn.Embedding (components, C)
---@field temperature number of the choice from the mixture
---@field predictors icot.Projection[] one per layer: state and choice, (B, 2C), to the teacher's state, (B, C)
---@field thread icot.nn.AttentiveLSTM
local Emulator = nn.class('Emulator')

---@param gpt2 icot.GPT2
---@param options { mixture: integer, temperature: number }
---@param generator icot.Generator
function Emulator:init(gpt2, options, generator)
  local width, drawn = gpt2.config.width, { generator = generator }
  self.gpt2, self.temperature, self.predictors = gpt2, options.temperature, {}
  self.mixture = nn.Embedding(options.mixture, width, { std = 1 / math.sqrt(width), generator = generator })
  for layer = 1, gpt2.config.layers do self.predictors[layer] = Projection(2 * width, width, drawn) end
  self.thread = nn.AttentiveLSTM(width, drawn)
end

-- The chosen embedding for each state: a mean of all, weighed by softmax(state·embedding / temperature).
local function choose(self, state)
  local embeddings = self.mixture.weight
  local weights = (state:linear(embeddings) * (1 / self.temperature)):softmax() -- (B, components)
  return weights:matmul(embeddings)
end

--- `question <eos>` of each sequence, end to end.
local function prompts_of(packed)
  local raw, eos_rows, tokens, positions, starts, last = packed.raw, packed:eos_rows(), {}, {}, { 0 }, {}
  for b, row in ipairs(eos_rows) do
    local start = raw.cu_seqlens[packed.first + b - 1]
    for at = start, packed.first_token + row do
      tokens[#tokens + 1], positions[#positions + 1] = raw.tokens[at], raw.positions[at]
    end
    starts[b + 1], last[b] = #tokens, #tokens - 1
  end
  return {
    tokens = rows.ints(tokens), positions = rows.ints(positions), cu_seqlens = rows.ints(starts),
    eos_rows = last, n_tokens = #tokens, first_token = packed.first_token - packed.first_target,
  }
end

--- Predicts a teacher's states from the questions alone.
---@param packed icot.Batch|icot.BatchPart prompts or whole sequences, of which only `question <eos>` is read
---@param dropout? { seed: integer, step: integer } while training
---@param watch? fun(name: string, output: icot.Tensor)
---@return icot.Tensor[] states (B, C) for each layer
function Emulator:predict(packed, dropout, watch)
  local prompts, layers, predicted, thread = prompts_of(packed), self.gpt2.config.layers, {}, nil
  local replace, eos_rows = rows.replacer(prompts.n_tokens, prompts.eos_rows), rows.ints(prompts.eos_rows)
  self.gpt2:hidden(prompts.tokens, prompts.positions, {
    cu_seqlens = prompts.cu_seqlens, first_token = prompts.first_token,
    dropout = dropout and { seed = dropout.seed + OTHER_DROPOUT, step = dropout.step },
    watch = watch and function(name, output) watch("the emulator's " .. name:gsub('^the ', ''), output) end,
    enter = function(layer, x)
      local state = x:embedding(eos_rows)
      predicted[layer] = self.predictors[layer](tensor.concat({ state, choose(self, state) }, 1))
      if layer == layers then return nil end
      local output, after = self.thread(predicted[layer], thread)
      thread = after
      return replace(x, output)
    end,
  })
  return predicted
end

--- Floating-point operations of one training step: 6 per weight and row in the products.
---@param shape icot.BatchShape
---@return number
function Emulator:step_flops(shape)
  local config, components = self.gpt2.config, self.mixture.weight:size(0)
  local per_example = 12 * config.width ^ 2 * (config.layers - 1) -- LSTM 8·C², query, key and output 4·C²
  for _, each in ipairs(self.predictors) do per_example = per_example + each.weights + 2 * components * config.width end
  return 3 * states.forward_flops(self.gpt2, shape.prompt_tokens, shape.prompt_pairs) + 6 * per_example * shape.examples
end

return Emulator
