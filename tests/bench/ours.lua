--- luajit tests/bench/ours.lua FOLDER DEVICE - icot at work on what tests/bench/prepare.lua has written.
---
--- Each line of the input is an order, a table in JSON; its answer is a line of the output. `variant`: a precision.
---   versions  {}                                   what icot stands on, and why there is no bf16, if so
---   products  { variant, rows, square, least }     GFLOP/s of matrix products, a square one and those of a step;
---                                                  at least so many seconds for each
---   loss      { variant, stage }                   of the stage's first batch
---   train     { variant, stage, steps }            seconds, tokens, flops
---   decode    { variant, examples, batch, texts }  seconds; the texts if asked for
---                                                  (of more examples than there are prompts: these again)
---   reset_peak, peak  {}                           bytes: resident memory, and what the core has handed out
local cjson = require 'cjson'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local generate = require 'icot.gpt2.generate'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'
local timing = require 'tests.bench.timing'
local work = require 'tests.bench.work'

local C = core.C
local REPEATS = 3 -- of a matrix product, at least

local folder, device = arg[1], arg[2]
assert(device, 'usage: luajit tests/bench/ours.lua FOLDER DEVICE')
core.use_device(device)
local given = cjson.decode(files.read(folder .. '/work.json', 2 ^ 26))
local self = work.training(given.digits, given.batch, 'model.pretrained=' .. folder .. '/model')
local orders = {}

local removed_in = {}
for _, stage in ipairs(given.stages) do removed_in[stage.name] = stage.removed end

-- A device may be behind the host: a number that comes back says that it is done.
local function settle()
  scope.run(scope.no_grad, function() return tensor.ones({ 1 }):item() end)
end

local function seconds_of(body, ...)
  settle()
  return timing.seconds_of(function(...)
    body(...)
    settle()
  end, ...)
end

function orders.versions()
  local versions = core.versions()
  versions.onednn = core.onednn_version()
  local _, problem = core.set_precision('bf16')
  if device == 'cuda' then versions.card = select(2, core.device()) end
  return { versions = versions, problem = problem }
end

-- ---- Training -----------------------------------------------------------------------------------

function orders.loss(order)
  return work.with_batch(self, 0, removed_in[order.stage], function(packed)
    return { loss = scope.run(scope.no_grad, function() return (self.model:loss(packed)):item() end) }
  end)
end

-- The batches of the first epoch again and again: the step says which one it is.
local function update(step, removed)
  self.state.step = step % self.sampler.steps_per_epoch
  self:update(removed)
end

function orders.train(order)
  self.meter:start()
  local before = self.meter:totals()
  local seconds = seconds_of(function()
    for step = 0, order.steps - 1 do update(step, removed_in[order.stage]) end
  end)
  local after = self.meter:totals()
  return { seconds = seconds, tokens = after.tokens - before.tokens, flops = after.flops - before.flops }
end

-- ---- Matrix products ----------------------------------------------------------------------------

-- Seconds of (m, k) times (k, n): the median of as many as it takes to fill `least` seconds.
local function seconds_of_product(m, n, k, least)
  return scope.run(scope.no_grad, function()
    local a, b = tensor.randn { m, k }, tensor.randn { k, n }
    local times, total = {}, 0
    while total < least or #times < REPEATS do
      local seconds = scope.run(function() return seconds_of(a.matmul, a, b) end)
      times[#times + 1], total = seconds, total + seconds
    end
    return timing.median(times)
  end)
end

-- Of each linear layer of a block, `inner` to `outer`: the output, and the gradients of input and weight.
function orders.products(order)
  local width, rows = self.model.config.width, order.rows
  local best, flops, seconds = 0, 0, 0
  local layers = { { width, 3 * width }, { width, width }, { width, 4 * width }, { 4 * width, width } }
  for _, layer in ipairs(layers) do
    local inner, outer = layer[1], layer[2]
    for _, sizes in ipairs { { rows, outer, inner }, { rows, inner, outer }, { outer, inner, rows } } do
      local m, n, k = unpack(sizes)
      local time = seconds_of_product(m, n, k, order.least)
      best, flops, seconds = math.max(best, 2 * m * n * k / time), flops + 2 * m * n * k, seconds + time
    end
  end
  local square = 2 * order.square ^ 3 / seconds_of_product(order.square, order.square, order.square, order.least)
  return { square = square / 1e9, best = best / 1e9, step = flops / seconds / 1e9 }
end

-- ---- Decoding -----------------------------------------------------------------------------------

local function prompt_of(tokens)
  local positions = {}
  for i = 1, #tokens do positions[i] = i - 1 end
  return { tokens = tokens, positions = positions }
end

local function never() return false end

function orders.decode(order)
  local options, texts = { max_new_tokens = given.new_tokens, is_finished = never }, {}
  local seconds = seconds_of(function()
    for first = 1, order.examples, order.batch do
      local prompts = {}
      for i = first, math.min(first + order.batch - 1, order.examples) do
        prompts[#prompts + 1] = prompt_of(given.prompts[(i - 1) % #given.prompts + 1])
      end
      for _, text in ipairs(generate.greedy(self.model, prompts, options)) do texts[#texts + 1] = text end
    end
  end)
  return { seconds = seconds, texts = order.texts and texts or nil }
end

-- ---- Memory -------------------------------------------------------------------------------------

-- From now on the peak of the resident memory counts from what is resident now (proc(5), clear_refs).
function orders.reset_peak()
  local file = io.open('/proc/self/clear_refs', 'w')
  if file then
    file:write('5')
    file:close()
  end
  C.icot_memory_reset_peak()
  return {}
end

function orders.peak()
  local file = assert(io.open('/proc/self/status'))
  local kilobytes = file:read('*a'):match('VmHWM:%s*(%d+) kB')
  file:close()
  return { resident = 1024 * tonumber(kilobytes), core = core.memory().peak }
end

-- ---- One order after the other ------------------------------------------------------------------

local function answer(line)
  local order = cjson.decode(line)
  if order.variant then
    local _, problem = core.set_precision(order.variant)
    if problem then errors.raise('%s', problem) end
  end
  return orders[order.order](order)
end

for line in io.lines() do
  local ok, result = pcall(answer, line)
  io.write(cjson.encode(ok and result or { error = errors.describe(result) }), '\n')
  io.flush()
end
