--- What the user should know about a training before it begins.
local counted = require 'icot.base.counted'
local model_file = require 'icot.model.model_file'
local removal = require 'icot.text.removal'
local schedule = require 'icot.schedule'
local values = require 'icot.base.values'

local start_notes = {}

-- A pretrained model without a tokenizer: its rows stood for other symbols.
local function warn_of_strange_symbols(self)
  local folder, given = self.config.model.pretrained, self.config.dataset.tokenizer
  local has_own = given == nil or given == 'word' or given == 'character'
  if not folder or not has_own or model_file.has_words(folder) then return end
  self.progress:warn(('model.pretrained: %s has no tokenizer: the %d symbols of the dataset take its first '
                      .. 'ids, whatever these meant to it'):format(folder, self.data.vocabulary.size))
end

-- That CoT will be left may be meant so. What a function says, or one that looks at validations, is not known before,
-- nor what a budget of tokens or FLOPs comes to.
local function note_what_is_left(self)
  local given, state = self.config.schedule, values.copy(self.state)
  local kind = type(given) == 'table' and schedule.kinds[given.kind]
  if not kind or kind.looks_at_validations or self.budget.kind ~= 'steps' then return end
  state.step = state.total_steps - 1 -- updates before the last
  state.epoch = state.step / state.steps_per_epoch
  local removed = self:removed(math.floor(self.schedule(state)))
  if removed == self.data.max_cot then return end
  self.progress:note(('schedule: at the end, after %s, %s will be removed'):format(
    counted.of(state.total_steps, 'update'),
    counted.part_of(removed, self.data.max_cot, 'CoT ' .. self.config.removal.unit)))
end

local function note_small_batch(self)
  local there, wanted = self.data.train:size(), self.config.train.batch
  if there >= wanted then return end
  self.progress:note(('train: a batch is the whole of %s, fewer than train.batch = %d'):format(
    counted.of(there, 'training example'), wanted))
end

local MANY_THOUGHTS = 16

local function note_many_thoughts(self)
  local most = removal.thoughts_at_most(self.config.removal, self.data)
  if not self.model.has_thoughts or most < MANY_THOUGHTS then return end
  self.progress:note(('removal.thoughts: an example may have %d of them, each a pass of its own; memory grows with '
                      .. 'the square of their number (limit it with removal.most_thoughts)'):format(most))
end

--- Tells all of it.
---@param training icot.Training with its `progress`
function start_notes.tell(training)
  local progress = training.progress
  if training.precision_problem then progress:warn(training.precision_problem .. '; training in float32') end
  warn_of_strange_symbols(training)
  for _, note in ipairs(training.data.notes or {}) do progress:note(note) end
  if training.model.note then progress:note(training.model.note) end
  note_what_is_left(training)
  note_small_batch(training)
  note_many_thoughts(training)
end

return start_notes
