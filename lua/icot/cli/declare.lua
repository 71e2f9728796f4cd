--- Options that several commands have: how they are declared, and what is done with them.
local core = require 'icot.core'
local files = require 'icot.files'
local run_paths = require 'icot.run_paths'
local terminal = require 'icot.terminal'

local declare = {}

--- An option that takes an integer.
---@param parser table of lua-argparse
---@param name string '--seed'
---@param doc string for --help
---@param least integer
---@param most integer
function declare.integer(parser, name, doc, least, most)
  parser:option(name, doc):argname('N'):convert(function(text)
    local number = tonumber(text)
    if number and number % 1 == 0 and number >= least and number <= most then return number end
    return nil, ("%s: got '%s', expected an integer from %d to %.0f"):format(name, text, least, most)
  end)
end

--- The number of threads to compute with.
---@param parser table
function declare.threads(parser)
  declare.integer(parser, '--threads', 'CPU threads; default: all cores', 1, tonumber(core.C.ICOT_MOST_THREADS))
end

--- Computes with as many from now on.
---@param args table what the argument parser gave
function declare.use_threads(args)
  if args.threads then core.check(core.C.icot_set_threads(args.threads)) end
end

--- The device to compute on.
---@param parser table
---@param doc? string for --help; default: of commands that look at runs, for which it does not matter where they were
---   trained
function declare.device(parser, doc)
  parser:option('--device', doc or 'cpu (default) or cuda'):argname('DEVICE'):choices({ 'cpu', 'cuda' })
end

--- Computes there from now on.
---@param args table what the argument parser gave
---raises an error if the device cannot be used
function declare.use_device(args)
  core.use_device(args.device or 'cpu')
end

--- Tells the user if the examples are not those of the training.
---@param found icot.Checkpoint
---@param data icot.Dataset
function declare.tell_other_data(found, data)
  if data:digest() == found.description.data then return end
  terminal.tell(('the dataset is not what %s was trained with: its files or options have changed since')
    :format(found.path))
end

--- What the engine works on, for the attributes of a file.
---@return 'cpu'|'cuda'
function declare.device_name()
  return (core.device())
end

--- A file of tables that is written beside the run that they are about.
---@param parser table
---@param what string that is in it
---@param word string that their file is told by: 'frontier'
function declare.tables(parser, what, word)
  local default = run_paths.of_findings('RUN', word)
  parser:option('--out', ('where %s, as HDF5; default: %s'):format(what, default)):argname('PATH')
  parser:flag('--force', 'overwrite a file that is there')
end

--- Where it is to go.
---@param args table what the argument parser gave
---@param word string the same
---@return string path
---raises an error: it is there already, or cannot be written.
function declare.path_of_tables(args, word)
  local path = args.out or run_paths.of_findings(args.run, word)
  files.require_free(path, args.force)
  files.require_writable(files.folder_of(path))
  return path
end

--- Computes as the training of a checkpoint did; the user is told if this machine cannot.
---@param found icot.Checkpoint
---@return 'float32'|'bf16'|'tf32' precision what it is now
function declare.use_precision(found)
  local precision, problem = core.set_precision(found.description.config.precision or 'float32')
  if problem then terminal.tell(problem .. '; computing in float32') end
  return precision
end

return declare
