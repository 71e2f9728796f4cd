--- The run whose model a command has answer questions (`icot eval`, `icot ask`): a checkpoint of it, its data and its
--- model.
local checkpoint = require 'icot.saved.checkpoint'
local cleanup = require 'icot.base.cleanup'
local common = require 'icot.cli.common'
local errors = require 'icot.base.errors'
local example_file = require 'icot.text.example_file'
local models = require 'icot.model'
local not_a_run = require 'icot.saved.not_a_run'
local pretrained = require 'icot.gpt2.pretrained'
local saved_recipe = require 'icot.saved.saved_recipe'
local saved_run = require 'icot.saved.saved_run'
local tasks = require 'icot.data.tasks'
local terminal = require 'icot.base.terminal'
local training_state = require 'icot.saved.training_state'

local trained_run = {}

---@class icot.TrainedRun
---@field checkpoint icot.Checkpoint
---@field config table of the run
---@field precision 'float32'|'bf16'|'tf32' that is computed in now
---@field data icot.Dataset
---@field removing icot.Removal how its CoT is cut
---@field removed number CoT tokens, or steps, that are removed: as --removed says, or as in training
---@field model? icot.Model once `load_model` has been called
local TrainedRun = {}
TrainedRun.__index = TrainedRun

--- The checkpoint that a path stands for, with a trained model.
---@param path string of a checkpoint, or of a run file, of whose checkpoints it is the newest
---@param where string who asks, named at the start of an error
---@return icot.Checkpoint
---raises an error: there is none, it is damaged, or nothing has been trained yet.
function trained_run.find(path, where)
  local found = checkpoint.is_at(path) and checkpoint.read(path) or saved_run.newest(path, terminal.tell)
    or not_a_run.raise_missing(path, where)
  if not found.model_folder then errors.raise('%s: %s: nothing has been trained yet', where, found.path) end
  return found
end

local function free(self)
  if self.model then self.model:free() end
  self.data:free()
end

--- Calls a function with the run of a checkpoint, whose data and model are freed after it, however it ends.
---@param found icot.Checkpoint
---@param args table what the argument parser gave
---@param body fun(run: icot.TrainedRun, args: table)
---raises an error when its data are gone, as `saved_recipe.removal` does, and what `body` raises
function trained_run.with(found, args, body)
  local config = found.description.config
  local self = setmetatable({
    checkpoint = found, config = config, precision = common.use_precision(found), data = tasks.load_for_run(config),
  }, TrainedRun)
  cleanup.always(function() free(self) end, function()
    self.removing = saved_recipe.removal(found)
    self.removed = args.removed or training_state.unpack_removed(found.description.state.removed)
    common.tell_other_data(found, self.data)
    body(self, args)
  end)
end

--- Loads its model, which may take a while: what the model shall answer had better be looked at before.
---raises an error when the dataset has other symbols than the model
function TrainedRun:load_model()
  self.model = models.of_checkpoint(self.checkpoint, self.data)
end

--- What the text of examples may have: not the symbol for pauses. (Of a tokenizer none has its id anyway.)
---@return icot.Vocabulary|icot.Tokenizer
function TrainedRun:words_of_examples()
  local words = self.data.vocabulary
  return words.without_pause and words:without_pause() or words
end

--- How many tokens its model can take in.
---@param where string who asks, named at the start of an error
---@return integer
function TrainedRun:context(where)
  return pretrained.inspect(self.checkpoint.model_folder, where).context
end

--- Whether the position of an answer depends on the length of its CoT even if all of that is removed.
---@return string? why nil: it does not
function TrainedRun:needs_length_of_cot()
  local config = self.config
  return config.removal.positions == 'kept' and "with positions = 'kept'"
    or config.method == 'pause' and not config.removal.thoughts and 'with pauses' or nil
end

-- ---- What it has written -------------------------------------------------------------------------

--- The line of a file of examples that a model has made of a question.
---@param question string
---@param written icot.Written
---@return string
function trained_run.line_of(question, written)
  local shown = { written.prediction ~= '' and written.prediction or nil }
  if written.is_cut_off then shown[#shown + 1] = '(cut off)' end
  return example_file.format(question, written.cot, #shown > 0 and table.concat(shown, ' ') or '(nothing)')
end

return trained_run
