--- Training: the loop that removes, packs, updates, evaluates and logs.
local batch = require 'icot.batch'
local core = require 'icot.core'
local dataset = require 'icot.dataset'
local errors = require 'icot.errors'
local evaluate = require 'icot.evaluate'
local gpt2 = require 'icot.gpt2'
local interrupt = require 'icot.interrupt'
local meter = require 'icot.meter'
local model_file = require 'icot.model_file'
local optim = require 'icot.optim'
local pretrained = require 'icot.pretrained'
local sampler = require 'icot.sampler'
local schedule = require 'icot.schedule'
local scope = require 'icot.scope'
local training_log = require 'icot.training_log'

local C = core.C
local trainer = {}

---@class icot.Training one run while it goes on
---@field config table resolved configuration (icot.recipe_fields.run)
---@field data icot.Dataset
---@field model icot.GPT2
---@field optimizer icot.AdamW
---@field state icot.ScheduleState
---@field explicit_accuracy number? accuracy with all CoT, measured just before the first removal
local Training = {}
Training.__index = Training

-- ---- Setting up ---------------------------------------------------------------------------------

-- The context of a new model, or of a pretrained one, where the recipe's configuration has it.
local function context_for(config, data)
  local context = config.model.context or data.max_length
  if data.max_length > context then
    errors.raise('model.context: the longest example has %d tokens, the context only %d; raise model.context',
                 data.max_length, context)
  end
  return context
end

-- Each symbol of the dataset must have an id in the checkpoint, and the same one, where the checkpoint tells.
local function check_vocabulary(words, folder)
  local known = pretrained.inspect(folder, 'model.pretrained').vocab_size
  if words.size > known then
    errors.raise("model.pretrained: the dataset has %d symbols, the checkpoint %d; give dataset.tokenizer = '%s'",
                 words.size, known, folder)
  end
  local saved = model_file.vocabulary(folder)
  for i, symbol in ipairs(saved and words.symbols or {}) do
    if saved.symbols[i] ~= symbol then
      errors.raise("model.pretrained: id %d is '%s' in the dataset, but '%s' in %s/vocabulary.json", i - 1, symbol,
                   tostring(saved.symbols[i]), folder)
    end
  end
end

local function load_model(given, context, data)
  check_vocabulary(data.vocabulary, given.pretrained)
  return gpt2.from_pretrained(given.pretrained, { context = context, dropout = given.dropout })
end

local function make_model(config, data)
  local given, context = config.model, context_for(config, data)
  if given.pretrained then return load_model(given, context, data) end
  return gpt2.new({
    vocab_size = data.vocabulary.size, layers = given.layers, heads = given.heads, width = given.width,
    context = context, dropout = given.dropout, initializer_range = given.initializer_range,
  }, config.seed)
end

--- Everything that a run needs, made from its configuration.
---@param run icot.Run
---@return icot.Training
local function prepare(run)
  local config = run.config
  local data = errors.explain_memory('dataset', 'a smaller dataset.train needs less', dataset.load, config.dataset)
  local model, optimizer = errors.explain_memory('model', 'a smaller model.width or model.layers needs less', function()
    local made = make_model(config, data)
    return made, optim.AdamW(made:parameters(), config.optimizer)
  end)
  local examples = sampler.new(data.train:size(), config.train.batch, config.seed)
  local total_steps = config.train.steps or config.train.epochs * examples.steps_per_epoch
  local info = { steps_per_epoch = examples.steps_per_epoch, total_steps = total_steps, max_cot = data.max_cot }
  return setmetatable({
    run = run, config = config, data = data, model = model, sampler = examples,
    optimizer = optimizer,
    learning_rate = optim.learning_rate(config.optimizer, total_steps),
    schedule = schedule.of(config, info), batch = batch.new(), meter = meter.new(),
    state = {
      step = 0, epoch = 0, removed = 0, total_steps = total_steps,
      steps_per_epoch = info.steps_per_epoch, max_cot = info.max_cot,
    },
  }, Training)
end

function Training:free()
  self.batch:free()
  self.optimizer:free()
  self.model:free()
  self.data:free()
end

-- ---- One update ---------------------------------------------------------------------------------

--- Removed tokens as they are reported: never more than there are.
function Training:removed()
  return math.min(self.state.removed, self.data.max_cot)
end

--- Moments are reset when more is removed, as long as the batch before still had some CoT (DESIGN: the method).
local function reset_if_needed(self, grew)
  local resets = grew and self.config.optimizer.reset == 'all' and self.cot_was_left
  if resets then
    self.optimizer:reset()
    self.last_reset = self.state.step
  end
  return resets
end

local function pack(self)
  local state, config = self.state, self.config
  local ids, n = self.sampler:at(state.step)
  local draw = state.step >= config.removal.smoothing_after and { seed = config.seed, step = state.step } or nil
  local cut = batch.removal(config.removal, self.data.vocabulary, state.removed, draw)
  self.batch:pack(self.data.train, ids, n, cut)
  self.cot_was_left = self.batch:cot_left() > 0
end

--- Forward, backward, clip, AdamW. Everything that is made on the way is gone when the scope closes.
local function compute(self, lr)
  local config, packed = self.config, self.batch
  local dropout = config.model.dropout > 0 and { seed = config.seed, step = self.state.step } or nil
  return scope.run(function()
    local loss, logits = self.model:loss(packed, dropout)
    local value, hits = loss:item(), packed:count_hits(logits)
    if value ~= value or value == math.huge then
      errors.raise('training: the loss is %g at step %d (lr %g, %d tokens removed); a lower optimizer.lr may help',
                   value, self.state.step + 1, lr, self:removed())
    end
    loss:backward()
    local norm = self.optimizer:grad_norm()
    self.optimizer:step { lr = lr, grad_scale = optim.clip_scale(norm, config.optimizer.clip) }
    self.optimizer:zero_grad()
    return { loss = value, hits = hits, grad_norm = norm }
  end)
end

--- One update with `removed` tokens removed.
function Training:update(removed)
  local state = self.state
  local grew = removed > state.removed and state.step > 0
  state.removed = removed
  local was_reset = reset_if_needed(self, grew)
  pack(self)
  local lr = self.learning_rate(state.step + 1, self.last_reset and state.step + 1 - self.last_reset)
  local measured = errors.explain_memory('training', 'a smaller train.batch needs less', compute, self, lr)
  state.step = state.step + 1
  state.epoch = state.step / state.steps_per_epoch
  state.loss = measured.loss
  self.meter:add(self.batch, self.model, measured, lr, was_reset)
end

-- ---- Evaluation ---------------------------------------------------------------------------------

--- Evaluates a split with the CoT that is left now, logs it and says so.
---@param split 'valid'|'test'
---@return icot.Evaluation
function Training:evaluate(split)
  local seconds = C.icot_seconds()
  local result = evaluate.run(self.model, self.data, split, self.state.removed, self.config.removal,
                              self.config.evaluate)
  self.meter:pause(C.icot_seconds() - seconds)
  self.log:evaluation(self, split, result)
  if split == 'valid' then self.state.accuracy = result.accuracy end
  self.progress:note(('%s: step %d, removed %d of %d, accuracy %.3f, loss %.4f'):format(
    split, self.state.step, self:removed(), self.data.max_cot, result.accuracy, result.loss))
  return result
end

local function evaluation_is_due(self)
  local every = self.config.train.evaluate_every
  if every == 'epoch' then every = self.state.steps_per_epoch end
  return self.state.step % every == 0 and self.state.step < self.state.total_steps
end

--- A run may end early once it answers well enough; with `icot` only when no CoT is left.
local function good_enough(self)
  local wanted = self.config.train.stop_at_accuracy
  if not wanted or not self.state.accuracy or self.state.accuracy < wanted then return false end
  return self.config.method ~= 'icot' or self.state.removed >= self.data.max_cot
end

-- ---- The loop -----------------------------------------------------------------------------------

--- Writes the row of the interval that ends now, if anything happened in it.
function Training:log_interval()
  if not self.meter:is_empty() then self.log:interval(self, self.meter:interval()) end
end

local function report(self)
  local state = self.state
  if state.step % self.config.train.log_every == 0 then self:log_interval() end
  self.progress:update {
    step = state.step, removed = self:removed(), loss = state.loss, accuracy = state.accuracy,
    tokens_per_second = self.meter:tokens_per_second(),
  }
end

--- Trains until all updates are done or the accuracy is good enough.
local function train(self)
  local state = self.state
  local removed = schedule.call(self.schedule, state)
  while state.step < state.total_steps do
    interrupt.check()
    if removed > 0 and state.removed == 0 and state.step > 0 then
      self.explicit_accuracy = self:evaluate('valid').accuracy
    end
    self:update(removed)
    report(self)
    if evaluation_is_due(self) then
      self:evaluate('valid')
      if good_enough(self) then break end
    end
    removed = schedule.call(self.schedule, state)
  end
end

--- What the user should know about the examples before the training begins.
local function tell_notes(self)
  for _, note in ipairs(self.data.notes or {}) do self.progress:note(note) end
  local there, wanted = self.data.train:size(), self.config.train.batch
  if there < wanted then
    self.progress:note(('train: a batch has all %d examples that there are, fewer than train.batch = %d'):format(
      there, wanted))
  end
end

-- ---- The end ------------------------------------------------------------------------------------

--- Whether all parameters are numbers; after a loss that is none they may not be.
local function is_finite(model)
  for _, parameter in ipairs(model:parameters()) do
    local values, n = parameter:read()
    local sum = 0
    for i = 0, n - 1 do sum = sum + values[i] * 0 end
    if sum ~= 0 then return false end
  end
  return true
end

local function save_model(self)
  if not is_finite(self.model) then return end
  scope.run(model_file.save, self.run.model_output, self.model, self.data.vocabulary)
  self.model_path = self.run.model_output
end

---@class icot.RunResult one row of a study's summary
---@field status 'finished'|'interrupted'|'failed'
---@field accuracy number on the held-out test examples, with the CoT that is left; NaN if there was no time for it
---@field explicit_accuracy number? on the validation examples, just before the first removal
---@field removed integer
---@field updates integer
---@field tokens integer trained on, in all batches together
---@field flops number
---@field seconds number of training, without evaluation
---@field model_path string

local function result_of(self, status, accuracy)
  local totals = self.meter:totals()
  return {
    status = status, accuracy = accuracy or 0 / 0, explicit_accuracy = self.explicit_accuracy,
    removed = self:removed(), updates = self.state.step, tokens = totals.tokens, flops = totals.flops,
    seconds = totals.seconds, model_path = self.model_path,
  }
end

--- A bug keeps the place where it was raised; what is raised on purpose stays as it is.
local function with_trace(raised)
  local on_purpose = errors.is_user_error(raised) or interrupt.is_interrupt(raised)
  return on_purpose and raised or debug.traceback(tostring(raised), 2)
end

--- Trains and evaluates; gives the accuracy on the test examples.
local function run_whole(self)
  self.meter:start()
  train(self)
  self:log_interval()
  self:evaluate('valid')
  return self:evaluate('test').accuracy
end

--- Keeps what there is: the last rows, the model, and how the run ended.
local function wind_up(self, status)
  self:log_interval()
  save_model(self)
  self.log:close(status)
end

--- Runs one training from beginning to end and writes its run file and its model.
---@param run icot.Run
---@param options { progress: icot.Progress, overwrite?: boolean }
---@return icot.RunResult
--- Errors: whatever the data, the schedule or the disk have. Rows and model are saved as far as that goes, and the run
--- file is marked 'failed'.
function trainer.run(run, options)
  local self = prepare(run)
  self.progress = options.progress
  self.progress.total_steps = self.state.total_steps
  tell_notes(self)
  self.log = training_log.create(self, options.overwrite)
  model_file.remove(run.model_output)

  local ok, outcome = xpcall(run_whole, with_trace, self)
  local status = ok and 'finished' or interrupt.is_interrupt(outcome) and 'interrupted' or 'failed'
  self.progress:finish()
  local saved, trouble = pcall(wind_up, self, status)
  if not saved then pcall(self.log.close, self.log, 'failed') end
  local result = result_of(self, status, ok and outcome or nil)
  self:free()
  if status == 'failed' then error(outcome, 0) end -- the first error is the one to tell
  if not saved then error(trouble, 0) end
  return result
end

return trainer
