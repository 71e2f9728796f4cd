--- What several commands do: with the options that icot.cli.declare gives them, and for the run that they look at.
local checkpoint = require 'icot.saved.checkpoint'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local run_paths = require 'icot.results.run_paths'
local not_a_run = require 'icot.saved.not_a_run'
local saved_run = require 'icot.saved.saved_run'
local terminal = require 'icot.base.terminal'
local training_state = require 'icot.saved.training_state'

local common = {}

-- ---- What is computed with ----------------------------------------------------------------------

--- Computes with as many threads from now on as were asked for.
---@param args table what the argument parser gave
function common.use_threads(args)
  if args.threads then core.check(core.C.icot_set_threads(args.threads)) end
end

--- Computes on the device that was asked for from now on.
---@param args table what the argument parser gave
---raises an error if the device cannot be used
function common.use_device(args)
  core.use_device(args.device or 'cpu')
end

--- What the engine works on, for the attributes of a file.
---@return 'cpu'|'cuda'
function common.device_name()
  return (core.device())
end

--- Computes as the training of a checkpoint did; the user is told if this machine cannot.
---@param found icot.Checkpoint
---@return 'float32'|'bf16'|'tf32' precision what it is now
function common.use_precision(found)
  local precision, problem = core.set_precision(found.description.config.precision or 'float32')
  if problem then terminal.tell(problem .. '; computing in float32') end
  return precision
end

-- ---- The run that is looked at ------------------------------------------------------------------

--- The checkpoint that a path stands for, with a trained model.
---@param path string of a checkpoint, or of a run file, of whose checkpoints it is the newest
---@param where string who asks, named at the start of an error
---@return icot.Checkpoint
---raises an error: there is none, it is damaged, or nothing has been trained yet.
function common.find_trained(path, where)
  local found = checkpoint.is_at(path) and checkpoint.read(path) or saved_run.newest(path, terminal.tell)
    or not_a_run.raise_missing(path, where)
  if not found.model_folder then errors.raise('%s: %s: nothing has been trained yet', where, found.path) end
  return found
end

--- How much is removed: as --removed says, or as in training.
---@param args table what the argument parser gave
---@param found icot.Checkpoint
---@return number
function common.removed(args, found)
  return args.removed or training_state.unpack_removed(found.description.state.removed)
end

--- Whether the position of an answer depends on the length of its CoT even if all of that is removed.
---@param config table of a run
---@return string? why nil: it does not
function common.needs_length_of_cot(config)
  return config.removal.positions == 'kept' and "with positions = 'kept'"
    or config.method == 'pause' and not config.removal.thoughts and 'with pauses' or nil
end

--- An answer as it is shown.
---@param written { prediction: string, is_cut_off: boolean }
---@return string
function common.answer_text(written)
  local shown = { written.prediction ~= '' and written.prediction or nil }
  if written.is_cut_off then shown[#shown + 1] = '(cut off)' end
  return #shown > 0 and table.concat(shown, ' ') or '(nothing)'
end

--- What the text of examples may have: not the symbol for pauses. (Of a tokenizer none has its id anyway.)
---@param data icot.Dataset
---@return icot.Vocabulary|icot.Tokenizer
function common.words_of_examples(data)
  local words = data.vocabulary
  return words.without_pause and words:without_pause() or words
end

--- Tells the user if the examples are not those of the training.
---@param found icot.Checkpoint
---@param data icot.Dataset
function common.tell_other_data(found, data)
  if data:digest() == found.description.data then return end
  terminal.tell(('the dataset is not what %s was trained with: its files or options have changed since')
    :format(found.path))
end

--- Where a file of tables about a run is to go (`declare.tables`).
---@param args table what the argument parser gave
---@param word string that `declare.tables` was given
---@return string path
---raises an error: it is there already, or cannot be written.
function common.path_of_tables(args, word)
  local path = args.out or run_paths.of_findings(args.run, word)
  files.require_free(path, args.force)
  files.require_writable(files.folder_of(path))
  return path
end

return common
