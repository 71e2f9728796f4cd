--- `icot eval`: evaluates the model of a run, or of one of its checkpoints, once more.
---
---   icot eval results/mult.h5
---   icot eval results/mult/checkpoints/step-000004000 --split valid --examples 5000
local checkpoint = require 'icot.checkpoint'
local dataset = require 'icot.dataset'
local declare = require 'icot.cli.declare'
local errors = require 'icot.errors'
local evaluate = require 'icot.evaluate'
local files = require 'icot.files'
local interrupt = require 'icot.interrupt'
local models = require 'icot.model'
local options = require 'icot.options'
local removal = require 'icot.removal'
local saved_run = require 'icot.saved_run'
local training_state = require 'icot.training_state'

local eval = {}

--- Describes the command to the argument parser.
---@param command table a command of lua-argparse
function eval.configure(command)
  command:argument('run', 'a run file, whose newest checkpoint is taken, or a checkpoint'):argname('RUN')
  command:option('--split', 'of the data: test (default), valid, train, or one that the dataset adds'):default('test')
  declare.integer(command, '--examples', 'at most; default: as in the recipe', 1, options.largest_integer)
  declare.integer(command, '--removed', 'CoT tokens that are removed; default: as many as in training', 0,
                  options.largest_integer)
  declare.threads(command)
  declare.device(command)
end

local function find(path)
  if files.kind(path .. '/checkpoint.json') then return checkpoint.read(path) end
  local function tell(text) io.stderr:write('icot: ', text, '\n') end
  return saved_run.newest(path, tell) or saved_run.raise_missing(path, 'eval')
end

local function print_result(found, split, removed, data, result)
  local removing, step = found.description.config.removal, found.description.state.step
  print(('%s: step %d, %d of %d CoT %ss removed'):format(
    found.path, step, removal.of_longest(removing, removed, data.max_cot), data.max_cot, removing.unit or 'token'))
  print(('%-16s %d of %s'):format('examples', result.examples, split))
  print(('%-16s %.4f'):format('accuracy', result.accuracy))
  print(('%-16s %.4f'):format('token accuracy', result.token_accuracy))
  print(('%-16s %.6f'):format('loss', result.loss))
  local positions = {}
  for i, accuracy in ipairs(result.positions) do positions[i] = ('%.3f'):format(accuracy) end
  print(('%-16s %s'):format('by position', table.concat(positions, ' ')))
  if #result.groups > 0 then print('by ' .. (data.grouped_by or 'group')) end
  for _, group in ipairs(result.groups) do
    print(('  %-14s %.4f of %d'):format(group.name, group.accuracy, group.examples))
  end
  print(('%-16s %.0f per second'):format('decoding', result.examples_per_second))
end

local function run_with(args, found)
  local config, precision = found.description.config, declare.use_precision(found)
  local data = dataset.of_run(config)
  data:corpus(args.split, 'eval')
  declare.tell_other_data(found, data)
  local model = models.of_checkpoint(found, data)
  local removed = args.removed or training_state.unpack_removed(found.description.state.removed)
  config.evaluate.examples = args.examples or config.evaluate.examples
  local result = evaluate.run(model, data, args.split, removed, saved_run.removal(found), config.evaluate)
  print_result(found, args.split, removed, data, result)
  print(('%-16s %s'):format('precision', precision))
  if model.note then print('\n' .. model.note) end
  model:free()
  data:free()
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error when there is no checkpoint, or its data are gone
function eval.run(args)
  declare.use_threads(args)
  declare.use_device(args)
  local found = find(args.run)
  if not found.model_folder then errors.raise('eval: %s: nothing has been trained yet', found.path) end
  return interrupt.run(run_with, args, found)
end

return eval
