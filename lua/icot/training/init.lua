--- A training: everything one run needs, one update, one evaluation. icot.training.trainer decides what comes when.
local batch = require 'icot.text.batch'
local budget = require 'icot.training.budget'
local checkpoint = require 'icot.saved.checkpoint'
local cleanup = require 'icot.base.cleanup'
local collapse = require 'icot.training.collapse'
local core = require 'icot.engine.core'
local deferred = require 'icot.engine.deferred'
local divergence = require 'icot.training.divergence'
local errors = require 'icot.base.errors'
local evaluate = require 'icot.training.evaluate'
local meter = require 'icot.training.meter'
local model_file = require 'icot.model.model_file'
local models = require 'icot.model'
local optim = require 'icot.training.optim'
local removal = require 'icot.text.removal'
local resume = require 'icot.saved.resume'
local sampler = require 'icot.text.sampler'
local schedule = require 'icot.schedule'
local saved_state = require 'icot.training.saved_state'
local scope = require 'icot.engine.scope'
local seen_before = require 'icot.training.seen_before'
local tasks = require 'icot.data.tasks'
local values = require 'icot.base.values'

local C = core.C
local training = {}

local LESS_MEMORY = 'a smaller train.batch, a larger train.accumulate or train.activation_checkpointing needs less'

---@class icot.Training one run under way
---@field run icot.Run
---@field config table resolved configuration (icot.recipe.fields.run)
---@field data icot.Dataset
---@field sampler icot.Sampler
---@field batch icot.Batch the packed examples of an update
---@field model icot.Model
---@field optimizer icot.AdamW
---@field learning_rate fun(step: integer, since_reset?: integer): number of an update, counted from 1
---@field last_reset integer? updates done when the moments were reset last
---@field meter icot.Meter
---@field schedule icot.Schedule
---@field state icot.ScheduleState
---@field planned number? removed tokens of the next update, from `plan` until it is done
---@field own_before table? what the schedule had kept before it was asked for that
---@field cot_was_left boolean? the batch of the last update still had CoT
---@field evaluated table<string, integer> step of the last evaluation of each split
---@field explicit_accuracy number? accuracy with all CoT, measured just before the first removal
---@field test_accuracy number? of the last evaluation of the test examples
---@field precision 'float32'|'bf16'|'tf32' of matrix products, as far as the machine has it
---@field precision_problem string? why it is not what the recipe wants
---@field lr_scale number factor on the learning rate, after rollbacks
---@field trained_on icot.TrainedOn[] until the checkpoint that it goes on from
---@field skipped integer updates that were left out (skip_update)
---@field collapse icot.CollapseWatch
---@field budget icot.Budget
---@field progress icot.Progress this and what follows is set by the trainer
---@field log icot.TrainingLog? once there is a run file
---@field keeper icot.CheckpointKeeper
---@field model_path string? folder of the model at its end, once that is saved
local Training = {}
Training.__index = Training

-- ---- Setting up ---------------------------------------------------------------------------------

local function make_optimizer(model, config, from)
  local optimizer = optim.AdamW(model:parameters(), config.optimizer)
  if from then cleanup.or_free(optimizer, checkpoint.read_moments, from, model) end
  return optimizer
end

local function make_model_and_optimizer(config, data, from)
  local model = models.make(config, data, from)
  return model, cleanup.or_free(model, make_optimizer, config, from)
end

-- A schedule that waits for validations would wait for ever.
local function check_validations(config, data)
  local kind = type(config.schedule) == 'table' and config.schedule.kind
  if not kind or not schedule.kinds[kind].looks_at_validations or data.valid:size() > 0 then return end
  errors.raise("dataset: the schedule '%s' waits for validations, but there are no validation examples", kind)
end

-- How many updates it will be, as far as that is known now, and with it how the learning rate decays.
local function follow_budget(self)
  local state = self.state
  local total = self.budget:total_steps(state.step, self.skipped, self.meter, state.total_steps)
  if total == state.total_steps then return end
  state.total_steps, self.learning_rate = total, optim.learning_rate(self.config.optimizer, total)
end

-- All but the data and the batch.
local function assemble(run, data, packed, resumption)
  local config, from = run.config, resumption and resumption.from
  if from then resume.check_data(resumption, data:digest()) end
  check_validations(config, data)
  local examples = sampler.new(data.train:size(), config.train.batch, config.seed)
  local model, optimizer = errors.explain_memory('model', 'a smaller model.width or model.layers needs less',
                                                 make_model_and_optimizer, config, data, from)
  local limit = budget.new(config.train, examples.steps_per_epoch)
  local total_steps = limit:first_guess(config, model, data)
  local info = { steps_per_epoch = examples.steps_per_epoch, total_steps = total_steps, max_cot = data.max_cot }
  local self = setmetatable({
    run = run, config = config, data = data, model = model, sampler = examples, optimizer = optimizer,
    learning_rate = optim.learning_rate(config.optimizer, total_steps), schedule = schedule.of(config, info),
    batch = packed, meter = meter.new(), state = schedule.state_at_start(info), evaluated = {}, lr_scale = 1,
    skipped = 0, collapse = collapse.new(), budget = limit, trained_on = seen_before.until_checkpoint(from),
  }, Training)
  self.precision, self.precision_problem = core.set_precision(config.precision)
  if from then saved_state.restore(self, from.description.state) end
  follow_budget(self)
  self.lr_scale = resumption and resumption.lr_scale or self.lr_scale
  return self
end

--- Everything that a run needs, made from its configuration, and brought to where a checkpoint was.
---@param run icot.Run
---@param resumption? icot.Resumption
---@return icot.Training
function training.new(run, resumption)
  local data = errors.explain_memory('dataset', 'a smaller dataset.train needs less', tasks.load_for_run, run.config)
  return cleanup.or_free(data, function()
    return cleanup.or_free(batch.new(), function(packed) return assemble(run, data, packed, resumption) end)
  end)
end

--- Frees the tensors and the data.
function Training:free()
  self.batch:free()
  self.optimizer:free()
  self.model:free()
  self.data:free()
end

--- What a checkpoint has to hold: the state now, as far as it doesn't follow from the recipe.
---@return icot.CheckpointParts
function Training:checkpoint_parts()
  local at_start, others = self.state.step == 0, seen_before.others(self.trained_on, self.data)
  return {
    description = {
      state = saved_state.capture(self), data = self.data:digest(), trained_on = #others > 0 and others or nil,
    },
    source = self.run.source, model = not at_start and self.model or nil, words = self.data.vocabulary,
    optimizer = not at_start and not self:forgets_moments() and self.optimizer or nil,
    log = self.log and self.log.file,
  }
end

-- ---- One update ---------------------------------------------------------------------------------

--- Removed tokens as they are reported: never more than there are.
---@param s? number what the schedule says; default: what it said last
---@return integer
function Training:removed(s)
  return removal.of_longest(self.config.removal, s or self.state.removed, self.data.max_cot)
end

--- Whether an update with s tokens removed is the first of a stage.
---@param s number
---@return boolean
function Training:begins_stage(s)
  return self:removed(s) > self:removed() and self.state.step > 0
end

--- Whether the next update begins with zero moments, so that a checkpoint needs none: at a new stage, as long as the
--- batch before still had some CoT; and none are to be kept for forks.
---@return boolean
function Training:forgets_moments()
  local begins = self.planned ~= nil and self:begins_stage(self.planned)
  local resets = begins and self.config.optimizer.reset == 'all' and self.cot_was_left == true
  return resets and not self.config.checkpoint.keep.moments
end

--- Takes in that the moments have been reset before the next update.
function Training:note_reset()
  self.last_reset = self.state.step
  self.meter:note_reset()
end

--- Asks the schedule what the next update removes. What it had kept before is remembered until that update is done, for
--- one that has to be asked anew.
---@return number removed
---@return boolean goes_back
---raises what `schedule.call` does
function Training:ask_schedule()
  self.own_before = values.copy(self.state.own)
  return schedule.call(self.schedule, self.state)
end

--- Takes in what the next update removes. The plan lasts until that update is done, also in a checkpoint, so that a
--- schedule is not asked twice.
---@param removed number as the schedule says
function Training:plan(removed)
  self.planned = removed
end

--- Forgets the plan: the schedule is asked anew, as if it had not been asked for the next update yet.
function Training:forget_plan()
  if self.own_before then self.state.own = self.own_before end
  self.planned, self.own_before = nil, nil
end

--- Forgets what was evaluated: the data are others now, or evaluated in another way.
function Training:forget_evaluations()
  local state = self.state
  self.evaluated, self.test_accuracy = {}, nil
  state.accuracy, state.valid_loss, state.evaluated_step = nil, nil, nil
end

--- Forgets by what the learning rate was scaled after rollbacks: it is another one now.
function Training:forget_lr_scale()
  self.lr_scale = 1
end

--- Takes in that an update was left out because it would have spoilt the model; it counts as a step all the same.
---@return integer skipped how many were left out so far
function Training:skip_update()
  self.skipped = self.skipped + 1
  return self.skipped
end

--- Puts the training back to the end of an earlier stage, once the parameters are those of then. Updates are still
--- counted and the data continue; the moments begin at zero, as they do at the beginning of a stage, and what was lost
--- is there again.
---@param saved table the state of that stage's end (icot.training.saved_state)
---@param removed number of that stage
function Training:return_to(saved, removed)
  self.optimizer:reset()
  self:note_reset()
  collapse.start_over(self.collapse)
  self.cot_was_left, self.state.removed = saved.cot_was_left, removed
end

-- Does what the recipe wants done to the moments at a new stage, and logs it.
local function reset_if_needed(self, removed)
  if not self:begins_stage(removed) then return end
  local policy = self.cot_was_left and self.config.optimizer.reset or 'keep'
  self.optimizer:reset(policy, self.config.optimizer.reset_decay)
  if self.log then self.log:event(self, 'removal', 'reset ' .. policy, removed) end
  if policy ~= 'keep' then self:note_reset() end
end

local function pack(self)
  local state, config = self.state, self.config
  local ids, n = self.sampler:at(state.step)
  local draw = { seed = config.seed, step = state.step, offsets = state.step >= config.removal.smoothing_after }
  local cut = removal.cut(config.removal, self.data, state.removed, draw)
  local explicit = self.model.reads_cot and removal.cut(config.removal, self.data, 0) or nil
  self.batch:pack(self.data.train, ids, n, cut, explicit)
  self.cot_was_left = self.batch:cot_left() > 0
end

--- Forward and backward of one part of the batch; the loss of the whole is a mean of `terms` terms (mostly over its
--- targets), so a part's mean, and with it its gradient, counts by its share of them. Everything that is made on the
--- way is gone when the scope closes, before the next part begins. Loss and hits are asked for, and not waited for.
local function add_gradient(self, part, terms, dropout)
  return scope.run(function()
    local loss, logits, targets = self.model:loss(part, dropout)
    local share = self.model:loss_terms(part) / terms
    local weighted = share < 1 and loss * share or loss
    weighted:backward()
    deferred.item(loss)
    if logits then deferred.hits(logits, targets) end
    return share, logits ~= nil
  end)
end

--- Forward and backward in as many parts as the recipe says; hits is NaN where no tokens are predicted. A GPU has all
--- of it before it when the host begins to wait; a loss that is not finite spoils gradients that are not used then.
---@return number loss
---@return number hits
---@return number norm of the gradient
local function add_gradients(self, dropout)
  local terms, shares, with_hits = self.model:loss_terms(self.batch), {}, nil
  local answers = deferred.collect(function()
    for i, part in ipairs(self.batch:parts(self.config.train.accumulate)) do
      shares[i], with_hits = add_gradient(self, part, terms, dropout)
    end
    deferred.grad_norm(self.optimizer)
  end)
  local each, loss, hits = with_hits and 2 or 1, 0, with_hits and 0 or 0 / 0
  for i, share in ipairs(shares) do
    loss = loss + share * answers[each * (i - 1) + 1]
    if with_hits then hits = hits + answers[each * i] end
  end
  return loss, hits, answers[#answers]
end

--- Gradients, clip, AdamW. With `trouble` nothing was updated.
local function compute(self, lr, dropout)
  local loss, hits, norm = add_gradients(self, dropout)
  local trouble = divergence.of_loss(self, loss) or divergence.of_gradient(norm)
  if trouble then return { trouble = trouble } end
  self.optimizer:step { lr = lr, grad_scale = optim.clip_scale(norm, self.config.optimizer.clip) }
  self.optimizer:zero_grad()
  return { loss = loss, hits = hits, grad_norm = norm }
end

-- The same; whatever is raised on the way leaves no gradients behind that the next update would add to.
local function compute_cleanly(self, lr, dropout)
  return cleanup.on_error(function() self.optimizer:zero_grad() end, compute, self, lr, dropout)
end

local function learning_rate_now(self)
  local step = self.state.step + 1
  return self.lr_scale * self.learning_rate(step, self.last_reset and step - self.last_reset)
end

--- One update with `removed` tokens removed, which uses up the plan.
---@param removed number
---raises an error when there is too little memory, or the loss or the gradients are no numbers; nothing is updated then
function Training:update(removed)
  local state, config = self.state, self.config
  reset_if_needed(self, removed)
  state.removed = removed
  pack(self)
  local lr, dropout = learning_rate_now(self), config.model.dropout > 0 and { seed = config.seed, step = state.step }
  local measured = errors.explain_memory('training', LESS_MEMORY, compute_cleanly, self, lr, dropout or nil)
  if measured.trouble then
    divergence.handle(self, measured.trouble, lr, dropout or nil)
  else
    state.loss = measured.loss
    self.meter:add(self.batch, self.model, measured, lr)
  end
  state.step = state.step + 1
  state.epoch = state.step / state.steps_per_epoch
  self.planned, self.own_before = nil, nil
  follow_budget(self)
end

-- ---- Evaluation ---------------------------------------------------------------------------------

--- Evaluates a split with the CoT that is left now, logs it and says so.
---@param split string 'valid', or 'test' and those out of distribution, which only the end of a run evaluates
---@return icot.Evaluation
function Training:evaluate(split)
  local seconds = C.icot_seconds()
  local result = evaluate.run(self.model, self.data, split, self.state.removed, self.config.removal,
                              self.config.evaluate)
  self.meter:pause(C.icot_seconds() - seconds)
  self.log:evaluation(self, split, result)
  self.evaluated[split] = self.state.step
  if split == 'valid' then schedule.note_validation(self.state, result) end
  if split == 'test' then self.test_accuracy = result.accuracy end
  self.progress:note(('%s: step %d, removed %d of %d, accuracy %.3f, loss %.4f'):format(
    split, self.state.step, self:removed(), self.data.max_cot, result.accuracy, result.loss),
    split == 'valid' and { accuracy = result.accuracy } or nil)
  return result
end

--- The same, unless it was done at this step already.
---@param split string
---@return icot.Evaluation? result nil: it was done; the last accuracy still holds
function Training:evaluate_once(split)
  if self.evaluated[split] ~= self.state.step then return self:evaluate(split) end
end

--- Takes in the accuracy with all CoT, measured just before the first removal.
---@param accuracy number
function Training:note_explicit_accuracy(accuracy)
  self.explicit_accuracy = accuracy
end

--- Saves the model where its run wants it, unless its parameters are no longer numbers.
function Training:save_model()
  if not divergence.has_finite_parameters(self.model) then return end
  scope.run(model_file.save, self.run.model_output, self.model, self.data.vocabulary)
  self.model_path = self.run.model_output
end

--- Writes the row of the interval that ends now, if anything happened in it.
function Training:log_interval()
  if not self.meter:is_empty() then self.log:interval(self, self.meter:interval()) end
end

return training
