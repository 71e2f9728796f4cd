--- What several commands do: with the options that icot.cli.declare gives them, and for the run that they look at.
local core = require 'icot.engine.core'
local files = require 'icot.base.files'
local run_paths = require 'icot.results.run_paths'
local terminal = require 'icot.base.terminal'

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
