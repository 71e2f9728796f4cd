--- luajit tests/bench/prepare.lua FOLDER LAYERS HEADS WIDTH DIGITS BATCH - writes what all peers work on.
---
--- FOLDER/model      a model with random parameters, as Hugging Face reads it
--- FOLDER/work.json  of the stages all, half and none (of the CoT is left): how many tokens are removed, and the packed
---                   batches; prompts for decoding, of up to three lengths in turn, and how many tokens to write
local cjson = require 'cjson'
local files = require 'icot.base.files'
local model_file = require 'icot.model.model_file'
local tasks = require 'icot.data.tasks'
local work = require 'tests.bench.work'

local PROMPTS, LENGTHS = 256, 3

local folder, layers, heads, width, digits, size = arg[1], arg[2], arg[3], arg[4], tonumber(arg[5]), tonumber(arg[6])
assert(size, 'usage: luajit tests/bench/prepare.lua FOLDER LAYERS HEADS WIDTH DIGITS BATCH')

-- Elements of an int32 array as a list.
local function list(array, n)
  local values = {}
  for i = 0, tonumber(n) - 1 do values[i + 1] = array[i] end
  return values
end

local function lists_of(packed)
  local raw = packed.raw
  return {
    tokens = list(raw.tokens, raw.n_tokens), positions = list(raw.positions, raw.n_tokens),
    cu_seqlens = list(raw.cu_seqlens, raw.n_examples + 1),
    target_rows = list(raw.target_rows, raw.n_targets), targets = list(raw.targets, raw.n_targets),
  }
end

local function stage(self, name, removed)
  local batches = {}
  for step = 0, self.sampler.steps_per_epoch - 1 do
    batches[step + 1] = work.with_batch(self, step, removed, lists_of)
  end
  return { name = name, removed = removed, batches = batches }
end

-- `question <eos>` of unseen problems.
local function prompts(eos)
  local kinds, found = {}, {}
  for length = math.max(2, digits - LENGTHS + 1), digits do
    kinds[#kinds + 1] = tasks.load({ task = 'multiplication', digits = length, test = PROMPTS }, 'test')
  end
  for i = 0, PROMPTS - 1 do
    local tokens = kinds[i % #kinds + 1].test:example(math.floor(i / #kinds)).question
    tokens[#tokens + 1] = eos
    found[i + 1] = tokens
  end
  for _, data in ipairs(kinds) do data:free() end
  return found
end

local self = work.training(digits, size, 'model.layers=' .. layers, 'model.heads=' .. heads, 'model.width=' .. width)
local data = self.data
files.make_folder(folder)
model_file.save(folder .. '/model', self.model, data.vocabulary)
local file = assert(io.open(folder .. '/work.json', 'w'))
file:write(cjson.encode {
  stages = {
    stage(self, 'all', 0), stage(self, 'half', math.floor(data.max_cot / 2)), stage(self, 'none', data.max_cot),
  },
  prompts = prompts(data.vocabulary.eos),
  digits = digits, batch = size,
  new_tokens = data.max_answer + 3, -- <eos> #### answer <eos>
  parameters = self.model:count_parameters(),
})
assert(file:close())
self:free()
