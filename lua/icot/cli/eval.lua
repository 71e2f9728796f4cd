--- `icot eval`: evaluates the model of a run, or of one of its checkpoints, once more.
---
---   icot eval results/mult.h5
---   icot eval results/mult/checkpoints/step-000004000 --split valid --examples 5000
---   icot eval results/mult.h5 --file mine.txt --show 10
local common = require 'icot.cli.common'
local counted = require 'icot.base.counted'
local declare = require 'icot.cli.declare'
local errors = require 'icot.base.errors'
local evaluate = require 'icot.training.evaluate'
local interrupt = require 'icot.engine.interrupt'
local options = require 'icot.base.options'
local removal = require 'icot.text.removal'
local terminal = require 'icot.base.terminal'
local text_files = require 'icot.data.text_files'
local trained_run = require 'icot.cli.trained_run'

local eval = {}

--- Describes the command to the argument parser.
---@param command table a command of lua-argparse
function eval.configure(command)
  command:argument('run', 'a run file, whose newest checkpoint is taken, or a checkpoint'):argname('RUN')
  command:option('--split', 'split to evaluate: test (default), valid, train, or one that the dataset adds')
  command:option('--file', 'file of examples to evaluate instead of a split, one `question||cot #### answer` per line')
    :argname('FILE')
  declare.integer(command, '--show', 'number of examples to show, with the CoT and the answer that the model writes', 0,
                  options.largest_integer)
  declare.integer(command, '--examples', 'at most this many examples; default: as in the recipe, or all of a --file', 1,
                  options.largest_integer)
  declare.integer(command, '--removed', 'evaluate as if so many CoT tokens, or steps, were removed: '
                  .. 'the model may write as many fewer, and the loss leaves them out; default: as in training', 0,
                  options.largest_integer)
  declare.threads(command)
  declare.device(command)
end

-- Whether the dataset knows the groups of these examples: they need not be of its task.
local function knows_groups(data, corpus)
  for id = 0, corpus:size() - 1 do
    local question, _, answer = corpus:texts(id)
    if not pcall(data.groups, question, answer) then return false end
  end
  return true
end

-- The position of the answer may depend on the length of the CoT, even if all of it is removed.
local function tell_of_empty(path, corpus, run)
  local needs, empty = run:needs_length_of_cot(), 0
  for id = 0, needs and corpus:size() - 1 or -1 do
    if select(2, corpus:lengths(id)) == 0 then empty = empty + 1 end
  end
  if empty == 0 then return end
  terminal.tell(("eval: --file: %s: no CoT in %s, but %s the position of the answer depends on the CoT's length")
    :format(path, counted.part_of(empty, corpus:size(), 'example'), needs))
end

-- Adds the examples of a file to the data, as a split that has the name of the file; gives that name.
local function add_file(path, run)
  local data, unit = run.data, run.config.removal.unit
  if unit == 'step' and not data.steps_of then
    errors.raise('eval: --file: removal.unit is step, but the dataset %s cannot find the steps in a CoT from a file '
                 .. '(steps_of)', data.task)
  end
  local read = text_files.read(path, 'eval: --file', run:words_of_examples(), data.steps_of)
  tell_of_empty(path, read, run)
  local split = data[path] == nil and path or './' .. path -- a file may be called test
  data:add(split, read, unit or 'token')
  if data.groups and not knows_groups(data, read) then data.groups = nil end
  local context = run:context 'eval'
  if data.max_length > context then
    errors.raise('eval: --file: %s has an example of %d tokens, separators%s included, but the model has a '
                 .. 'context of %d', path, data.max_length, data.room_for and ' and thoughts' or '', context)
  end
  return split
end

local function print_samples(samples)
  for _, sample in ipairs(samples) do
    local expected = sample.is_right and '' or (' (expected %s)'):format(sample.target)
    local line = trained_run.line_of(sample.question, sample)
    print(errors.one_line(('%-6s %s%s'):format(sample.is_right and 'right' or 'wrong', line, expected)))
  end
  if #samples > 0 then print() end
end

local function print_result(run, split, result)
  local removing, data, found = run.config.removal, run.data, run.checkpoint
  local gone, unit = removal.of_longest(removing, run.removed, data.max_cot), 'CoT ' .. (removing.unit or 'token')
  print(('%s: step %d, %s removed'):format(found.path, found.description.state.step,
                                          counted.part_of(gone, data.max_cot, unit)))
  print(('%-16s %d of %s'):format('examples', result.examples, split))
  print(('%-16s %.4f'):format('accuracy', result.accuracy))
  print(('%-16s %.4f'):format('token accuracy', result.token_accuracy))
  print(('%-16s %.6f'):format('loss', result.loss))
  local positions = {}
  for i, accuracy in ipairs(result.positions) do positions[i] = ('%.3f'):format(accuracy) end
  if result.cut_off > 0 then
    print(('%-16s %s, after as many tokens as should be left at most'):format(
      'cut off', counted.part_of(result.cut_off, result.examples, 'example')))
  end
  print(('%-16s %s'):format('by position', table.concat(positions, ' ')))
  if #result.groups > 0 then print('by ' .. (data.grouped_by or 'group')) end
  for _, group in ipairs(result.groups) do
    print(('  %-14s %.4f of %d'):format(group.name, group.accuracy, group.examples))
  end
  print(('%-16s %.1f tokens per example%s, %.0f examples per second'):format(
    'decoding', result.tokens_generated / result.examples, run.model.has_thoughts and ' with its thoughts' or '',
    result.examples_per_second))
  print(('%-16s %s'):format('precision', run.precision))
  if run.model.note then print('\n' .. run.model.note) end
end

local function run_with(run, args)
  local split = args.file and add_file(args.file, run) or args.split or 'test'
  run.data:corpus(split, 'eval')
  run:load_model()
  local result = evaluate.run(run.model, run.data, split, run.removed, run.removing, {
    examples = args.examples or args.file and math.huge or run.config.evaluate.examples,
    batch = run.config.evaluate.batch, samples = args.show or 0,
  })
  print_samples(result.samples)
  print_result(run, split, result)
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error when there is no checkpoint, or its data are gone
function eval.run(args)
  if args.file and args.split then errors.raise('eval: give either --file or --split, not both') end
  common.use_threads(args)
  common.use_device(args)
  return interrupt.run(trained_run.with, trained_run.find(args.run, 'eval'), args, run_with)
end

return eval
