--- Run files and studies with made-up numbers that look like those of a real training.
local index_file = require 'icot.study.index_file'
local runlog = require 'icot.results.runlog'

local sample_run = {}

local COT, ANSWER, STEPS, EXPLICIT, STEPS_PER_TOKEN = 22, 6, 4000, 1000, 80

--- How each method removes the CoT, and how well it does in the end.
local methods = {
  no_cot = { removed = function() return COT end, best = 0.04 },
  explicit_cot = { removed = function() return 0 end, best = 1 },
  icot = {
    removed = function(step) return math.max(0, math.min(COT, math.floor((step - EXPLICIT) / STEPS_PER_TOKEN))) end,
    best = 0.93,
  },
}

-- How far a run has come, 0 … 1: falls back a little whenever a token was removed.
local function skill(method, step)
  local learned = 1 / (1 + math.exp((600 - step) / 120))
  local since = (step - EXPLICIT) % STEPS_PER_TOKEN
  local removing = method == methods.icot and step > EXPLICIT and method.removed(step) < COT
  return learned * (removing and 1 - 0.1 * math.exp(-since / 25) or 1)
end

local function train_row(method, step, random)
  local s = skill(method, step) * (0.4 + 0.6 * method.best)
  local removed = method.removed(step)
  return {
    step = step, epoch = step / 500, removed = removed,
    loss = 2.2 * (1 - s) ^ 1.5 + 0.01 + 0.02 * random(), token_accuracy = 0.2 + 0.8 * s,
    grad_norm = 0.4 + random(), lr = 1e-3 * math.min(1, step / 100), tokens = step * 128 * 40,
    seconds = step * 0.045, flops = step * 1.3e10,
    optimizer_reset = removed ~= method.removed(step - 20),
  }
end

local function eval_row(method, step, random)
  local accuracy = method.best * skill(method, step) ^ 3 * (0.97 + 0.03 * random())
  local row = {
    step = step, epoch = step / 500, removed = method.removed(step), split = 'valid', accuracy = accuracy,
    token_accuracy = accuracy ^ 0.3, loss = 0.02 - 0.6 * math.log(math.max(accuracy, 1e-3)),
    examples_per_second = 1800 + 100 * random(), tokens_generated = 1000 * (ANSWER + 2),
    examples = 1000,
  }
  local positions = {}
  for i = 1, ANSWER do -- the middle digits depend on most of the others
    positions[i] = accuracy ^ (0.05 + 0.9 * math.sin(math.pi * (i - 0.5) / ANSWER))
  end
  return row, positions
end

local function write_rows(log, method, random, written)
  for step = 20, STEPS, 20 do
    local row = train_row(method, step, random)
    log:train(row)
    table.insert(written.train, row)
    if step % 200 == 0 then
      local eval, positions = eval_row(method, step, random)
      log:eval(eval, positions)
      log:sample { step = step, split = 'valid', question = '1 2 3 * 4 5 6', target = '8 8 0 6 5 0',
                   prediction = eval.accuracy > 0.5 and '8 8 0 6 5 0' or '8 1 0 6 5 0', cot = '8 2 2 0' }
      table.insert(written.eval, eval)
      table.insert(written.positions, positions)
      log:flush()
    end
  end
end

--- Writes a run file.
---@param path string
---@param options? { method?: string, seed?: integer, arm?: string }
---@return { train: table[], eval: table[], positions: number[][] } written the rows
function sample_run.write(path, options)
  options = options or {}
  local method, seed = options.method or 'icot', options.seed or 1
  local state = seed * 7919
  local function random() -- the same everywhere, and for every seed
    state = (state * 48271) % 2147483647
    return state / 2147483647
  end
  local written = { train = {}, eval = {}, positions = {} }
  local log = runlog.create {
    path = path, recipe = 'sample', seed = seed, source = '-- é\nreturn {}\n', config = '{"seed": 1}',
    answer_length = ANSWER, text_width = 32, attributes = { method = method, arm = options.arm },
  }
  write_rows(log, methods[method], random, written)
  log:close('finished')
  return written
end

--- Writes a study of three arms with two seeds, in FOLDER/sample.h5 and FOLDER/sample/.
---@param folder string
---@return string path of the index
---@return table[] summary the rows of its summary
function sample_run.write_study(folder)
  local runs, summary = {}, {}
  for _, arm in ipairs { 'no_cot', 'explicit_cot', 'icot' } do
    for seed = 1, 2 do
      runs[#runs + 1] = { arm = arm, seed = seed, path = ('%s/sample/%s-%d.h5'):format(folder, arm, seed) }
    end
  end
  local index = index_file.create { path = folder .. '/sample.h5', recipe = 'sample', runs = runs }
  for _, run in ipairs(runs) do
    local written = sample_run.write(run.path, { method = run.arm, arm = run.arm, seed = run.seed })
    local train, eval = written.train[#written.train], written.eval[#written.eval]
    local row = {
      arm = run.arm, seed = run.seed, method = run.arm, removed = eval.removed, accuracy = eval.accuracy,
      updates = train.step, tokens = train.tokens, flops = train.flops, seconds = train.seconds, status = 'finished',
      explicit_accuracy = 0.9, collapsed = false,
    }
    index:summary(row)
    summary[#summary + 1] = row
  end
  index:close('finished')
  return folder .. '/sample.h5', summary
end

return sample_run
