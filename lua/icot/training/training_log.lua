--- What a training writes to its run file (icot.results.runlog), in terms of the training.
local core = require 'icot.engine.core'
local runlog = require 'icot.results.runlog'

local training_log = {}

---@class icot.TrainingLog
---@field file icot.RunLog
local TrainingLog = {}
TrainingLog.__index = TrainingLog

--- Creates the run file of a training.
---@param training icot.Training
---@param overwrite? boolean
---@param resumption? icot.Resumption continue with the rows of that checkpoint
---@return icot.TrainingLog
function training_log.create(training, overwrite, resumption)
  local run, data, model = training.run, training.data, training.model
  local device, device_name = core.device()
  local file = runlog.create {
    path = run.output, force = overwrite or resumption ~= nil, from = resumption and resumption.from.run_file,
    segment = resumption and resumption.segment, recipe = run.recipe, seed = run.seed,
    source = run.source, config = run.config_json, answer_length = data.max_answer,
    attributes = {
      arm = run.arm, method = training.config.method, precision = training.precision, device = device,
      device_name = device_name,
      onednn_version = training.precision == 'bf16' and core.onednn_version() or nil, max_cot = data.max_cot,
      parameters = model:count_parameters(), steps_per_epoch = training.state.steps_per_epoch,
      total_steps = training.state.total_steps, grouped_by = data.grouped_by,
      fork_from = training.config.fork_from,
      fork_step = resumption and resumption.is_fork and training.state.step or nil,
    },
  }
  return setmetatable({ file = file }, TrainingLog)
end

--- A row of /train: means over the interval that ends now, totals so far.
---@param training icot.Training
---@param interval table from `Meter:interval`
function TrainingLog:interval(training, interval)
  local state, totals = training.state, training.meter:totals()
  self.file:train {
    step = state.step, epoch = state.epoch, removed = training:removed(), loss = interval.loss,
    token_accuracy = interval.token_accuracy, grad_norm = interval.grad_norm, lr = interval.lr,
    tokens = totals.tokens, seconds = totals.seconds, flops = totals.flops,
    optimizer_reset = interval.optimizer_reset,
  }
  self.file:flush()
end

--- A row of /eval and /eval_positions, and some of /eval_groups and /samples.
---@param training icot.Training
---@param split string
---@param result icot.Evaluation
function TrainingLog:evaluation(training, split, result)
  local state = training.state
  self.file:eval({
    step = state.step, epoch = state.epoch, removed = training:removed(), split = split,
    accuracy = result.accuracy, token_accuracy = result.token_accuracy, loss = result.loss,
    examples_per_second = result.examples_per_second, tokens_generated = result.tokens_generated,
    examples = result.examples,
  }, result.positions)
  for _, group in ipairs(result.groups) do
    self.file:eval_group {
      step = state.step, split = split, group = group.name, examples = group.examples, accuracy = group.accuracy,
    }
  end
  for _, sample in ipairs(result.samples) do
    self.file:sample {
      step = state.step, split = split, question = sample.question, target = sample.target,
      prediction = sample.prediction, cot = sample.cot,
    }
  end
  self.file:flush()
end

--- A row of /events.
---@param training icot.Training
---@param event 'removal'|'rollback'
---@param detail string
---@param removed number from now on
function TrainingLog:event(training, event, detail, removed)
  self.file:event {
    step = training.state.step, event = event, detail = detail, removed = training:removed(removed),
  }
end

--- Sets an attribute of the run file, written when it is closed.
---@param name string
---@param value string|number
function TrainingLog:set(name, value)
  self.file:set(name, value)
end

--- Closes the run file.
---@param end_state 'finished'|'collapsed'|'interrupted'|'failed'
function TrainingLog:close(end_state)
  self.file:close(end_state)
end

return training_log
