--- Looks inside a run: what linear probes can read out of its hidden states, layer by layer, place by place, and stage
--- by stage, beside controls; and where its heads look.
---
--- Probes are fitted to the states of one split and tested on those of another, neither of which the run was trained on
--- (unless `train` is asked for). The sequences are those of training, with the CoT tokens that the stage has left and
--- without offsets. Controls are
---   untrained   the model before its first update, on the same sequences (a pretrained one as it came)
---   no_cot      a model that was trained without CoT, on sequences without
---   shuffled    the trained model's states, each example with the labels of another
local attention = require 'icot.probe.attention'
local cleanup = require 'icot.base.cleanup'
local controls = require 'icot.probe.controls'
local core = require 'icot.engine.core'
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local interrupt = require 'icot.engine.interrupt'
local labels = require 'icot.probe.labels'
local linear_probe = require 'icot.probe.linear_probe'
local methods = require 'icot.schedule.methods'
local models = require 'icot.model'
local places = require 'icot.probe.places'
local removal = require 'icot.text.removal'
local saved_recipe = require 'icot.saved.saved_recipe'
local scope = require 'icot.engine.scope'
local sequence = require 'icot.text.sequence'
local states = require 'icot.probe.states'
local tasks = require 'icot.data.tasks'
local training_state = require 'icot.saved.training_state'

local probe = {}

probe.PRECISION = 'float32' -- as exact as can be, whatever the run was trained in

local HELD_OUT = 'test'
local MOST_BYTES = 2 ^ 30 -- of states held at a time; of larger models one layer after the other is taken

---@class icot.ProbePlan
---@field stages icot.Checkpoint[] what is probed
---@field no_cot? icot.Checkpoint
---@field fit 'valid'|'train' the split that probes are fitted to
---@field examples integer of each split at most
---@field quantities? string only those with this in their name
---@field places? string the same
---@field show integer[] test examples whose attention is kept, counted from 1

---@class icot.Probe
---@field plan icot.ProbePlan
---@field data icot.Dataset
---@field splits icot.probe.Splits
---@field labels icot.probe.Labels
---@field rows icot.ProbeRow[] what was found so far
---@field warning? string what the user should know about the examples
---@field longest_shown integer tokens of the longest sequence whose attention is kept; 0: none is
local Probe = {}
Probe.__index = Probe

-- ---- Getting ready ------------------------------------------------------------------------------

local function size_of(data, split, most)
  local n = math.min(data[split]:size(), most)
  if n == 0 then errors.raise('probe: the dataset has no %s examples', split) end
  return n
end

local function longest_shown(data, show)
  local longest = 0
  for _, number in ipairs(show) do
    if number > data[HELD_OUT]:size() then
      errors.raise('probe: --show %d: there are only %s', number, counted.of(data[HELD_OUT]:size(), 'test example'))
    end
    local corpus = data[HELD_OUT]
    local question, cot, answer = corpus:lengths(number - 1)
    if data.room_for then cot = data.room_for(corpus, number - 1) end
    longest = math.max(longest, sequence.length(question, cot, answer))
  end
  return longest
end

-- How many of the questions that probes are tested on they are fitted to as well.
local function count_shared(data, splits)
  local fitted, shared = {}, 0
  for i = 0, splits.n_fit - 1 do fitted[data[splits.fit]:question(i)] = true end
  for i = 0, splits.n_held_out - 1 do shared = shared + (fitted[data[splits.held_out]:question(i)] and 1 or 0) end
  return shared
end

-- What a probe was fitted to it may know by heart, whatever the states have of it.
local function check_held_out(self)
  local splits, shared = self.splits, count_shared(self.data, self.splits)
  if shared == 0 then return end
  local what = ('%s of the split %s are in %s, too, which probes are fitted to'):format(
    counted.part_of(shared, splits.n_held_out, 'example'), splits.held_out, splits.fit)
  if shared == splits.n_held_out then
    errors.raise('probe: %s; they need examples of their own to be tested on', what)
  end
  self.warning = what .. '; what is found of these tells nothing about the model'
end

local function read_data(self, config)
  local plan, data = self.plan, self.data
  if plan.no_cot then controls.check_same_test(plan.no_cot, data) end
  self.splits = {
    fit = plan.fit, held_out = HELD_OUT,
    n_fit = size_of(data, plan.fit, plan.examples), n_held_out = size_of(data, HELD_OUT, plan.examples),
  }
  check_held_out(self)
  local function shapes(removed)
    local cut = removal.cut(saved_recipe.removal(plan.stages[1]), data, removed)
    return places.shapes(data[HELD_OUT], self.splits.n_held_out, cut)
  end
  places.check(plan.places, shapes(0), shapes(math.huge))
  self.longest_shown = longest_shown(data, plan.show)
  self.labels = labels.read(data, tasks.find(config.dataset.task), config.dataset, self.splits, plan.quantities)
end

--- Loads the data, and works out what is to be told of each example.
---@param plan icot.ProbePlan
---@return icot.Probe
---raises an error when the data are gone, there is nothing to tell, or the model is no single GPT-2
function probe.new(plan)
  local config = plan.stages[1].description.config
  if methods.is_distillation(config.method) then
    errors.raise('probe: %s: icot_kd trains several networks together, but only a single GPT-2 can be probed, such as '
                 .. 'its teacher', plan.stages[1].path)
  end
  local self = setmetatable({ plan = plan, data = tasks.load_for_run(config), rows = {} }, Probe)
  cleanup.or_free(self, read_data, config)
  return self
end

--- Frees the data.
function Probe:free()
  self.data:free()
end

-- ---- One model on one kind of sequences ---------------------------------------------------------

---@class icot.probe.Subject
---@field control 'none'|'untrained'|'no_cot'
---@field model icot.Model
---@field cut ffi.cdata* icot_removal
---@field step integer updates
---@field removed integer CoT tokens, or steps
---@field labels icot.probe.Labels

local function sample_of(self, subject, split, n)
  local corpus = self.data[split]
  return { corpus = corpus, n = n, cut = subject.cut, shapes = places.shapes(corpus, n, subject.cut) }
end

local function samples_of(self, subject)
  local fit = sample_of(self, subject, self.splits.fit, self.splits.n_fit)
  local held_out = sample_of(self, subject, self.splits.held_out, self.splits.n_held_out)
  return fit, held_out, places.common(self.plan.places, held_out.shapes, fit.shapes)
end

-- Adds the rows of one layer at one place.
local function add_rows(self, log, subject, where, found)
  local accuracies = linear_probe.accuracies(found, subject.labels)
  for k, column in ipairs(subject.labels.columns) do
    local row = {
      step = subject.step, removed = subject.removed, control = column.is_shuffled and 'shuffled' or subject.control,
      layer = where.layer, position = where.position, place = where.place, quantity = column.quantity,
      accuracy = accuracies[k], baseline = column.baseline,
      examples = self.splits.n_held_out, examples_fit = self.splits.n_fit,
    }
    log:probe(row)
    self.rows[#self.rows + 1] = row
  end
end

-- Layers first … last, whose states fit into memory together.
local function probe_layers(self, log, subject, samples, first, last)
  local fit = states.collect(subject.model, samples.fit, samples.places, first, last)
  local held_out = states.collect(subject.model, samples.held_out, samples.places, first, last)
  for layer = first, last do
    for p, place in ipairs(samples.places) do
      local where = { layer = layer, place = place, position = samples.held_out.shapes[1].position[place] }
      add_rows(self, log, subject, where, { fit = fit[layer][p], held_out = held_out[layer][p] })
    end
  end
end

-- Of the places that are wanted there may be none: CoT that is gone.
local function probe_subject(self, log, subject, note)
  local started, config = core.C.icot_seconds(), subject.model:decoding().config
  local fit, held_out, common = samples_of(self, subject)
  local name = ('step %d, %d removed, %s'):format(subject.step, subject.removed,
                                                  subject.control == 'none' and 'trained' or subject.control)
  if #common == 0 then return note(("%s: nothing, its sequences have no '%s'"):format(name, self.plan.places)) end
  local bytes = 4 * config.width * #common * (fit.n + held_out.n) -- of one layer
  local at_once = math.max(1, math.floor(MOST_BYTES / bytes))
  for first = 0, config.layers, at_once do
    scope.run(probe_layers, self, log, subject, { fit = fit, held_out = held_out, places = common }, first,
              math.min(first + at_once - 1, config.layers))
  end
  log:flush()
  note(('%s: %d layers at %s in %.0f s'):format(name, config.layers + 1, counted.of(#common, 'place'),
                                                core.C.icot_seconds() - started))
end

-- ---- All of them --------------------------------------------------------------------------------

-- What a checkpoint's model is shown.
local function subject_of(data, found, control, model, its_labels)
  local state = found.description.state
  local s, removing = training_state.unpack_removed(state.removed), saved_recipe.removal(found)
  return {
    control = control, model = model, labels = its_labels, step = state.step,
    cut = removal.cut(removing, data, s), removed = removal.of_longest(removing, s, data.max_cot),
  }
end

-- The same examples for a model that knows no pauses: only the vocabulary of the dataset has them, not its corpora's.
local function without_pauses(data)
  return setmetatable({ vocabulary = data[HELD_OUT].vocabulary }, { __index = data })
end

local function keep_attention(self, log, subject)
  local vocabulary = self.data.vocabulary
  for _, number in ipairs(self.plan.show) do
    interrupt.check()
    local maps, tokens = attention.maps(subject.model, self.data[HELD_OUT], number - 1, subject.cut)
    local texts = {}
    for i, token in ipairs(tokens) do texts[i] = vocabulary:decode { token } end
    log:attention({ step = subject.step, removed = subject.removed, example = number }, texts, maps)
  end
end

local function with_model(model, body)
  cleanup.always(function() model:free() end, body, model)
end

-- A stage as its run has trained it, then the untrained model on the same sequences.
local function probe_stage(self, log, found, untrained, note)
  local doubled = labels.with_shuffled(self.labels, found.description.seed)
  with_model(models.of_checkpoint(found, self.data), function(model)
    local subject = subject_of(self.data, found, 'none', model, doubled)
    keep_attention(self, log, subject)
    probe_subject(self, log, subject, note)
  end)
  probe_subject(self, log, subject_of(self.data, found, 'untrained', untrained, self.labels), note)
end

--- Probes all stages and controls.
---@param log icot.ProbeFile
---@param note fun(text: string) is told what was done
---raises what icot.engine.interrupt does when the user ends the program; the rows so far are in the log.
function Probe:run(log, note)
  local plan = self.plan
  local config = plan.stages[1].description.config
  if self.warning then note(self.warning) end
  core.set_precision(probe.PRECISION)
  with_model(models.make(config, self.data), function(untrained)
    for _, found in ipairs(plan.stages) do probe_stage(self, log, found, untrained, note) end
  end)
  if not plan.no_cot then return end
  local data = without_pauses(self.data)
  with_model(models.of_checkpoint(plan.no_cot, data), function(model)
    probe_subject(self, log, subject_of(data, plan.no_cot, 'no_cot', model, self.labels), note)
  end)
end

return probe
