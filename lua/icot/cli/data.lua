--- `icot data`: checks files of examples, and prints the examples of a dataset.
---
---   icot data check FILE [--task parity --set bits=8]
---   icot data multiplication --set digits=4 --split test --count 5
local counted = require 'icot.base.counted'
local declare = require 'icot.cli.declare'
local errors = require 'icot.base.errors'
local example_check = require 'icot.data.example_check'
local names = require 'icot.base.names'
local options = require 'icot.base.options'
local overrides = require 'icot.recipe.overrides'
local tasks = require 'icot.data.tasks'
local text_files = require 'icot.data.text_files'

local data = {}

local WHERE = 'data' -- begins a message, after the program's name

--- Describes the command to the argument parser.
---@param command table a command of lua-argparse
function data.configure(command)
  command:argument('what', "'check', or the name of a task: multiplication, text, …")
  command:argument('file', 'with check: the file to check'):args('?')
  command:option('--task', 'with check: recompute every CoT and answer as this task does')
  command:option('--tokenizer', "with check: what to count lengths in: 'word' (default), 'character', or the folder of "
    .. 'a model, whose vocabulary is used')
  declare.settings(command, 'option of the task, KEY=VALUE')
  command:option('--split', 'split to print: test (default), valid, train, or one that the options add')
  declare.integer(command, '--count', 'number of examples to print; default: 10', 1, options.largest_integer)
  declare.integer(command, '--seed', "seed of the task's examples; the same as --set seed=N", 0,
                  options.largest_integer)
end

local function put(...)
  local ok, problem = io.stdout:write(...)
  if not ok then errors.raise('%s: cannot write: %s', WHERE, problem) end
end

local function finish_output()
  local ok, problem = io.stdout:flush()
  if not ok then errors.raise('%s: cannot write: %s', WHERE, problem) end
end

-- Options that the other form of the command takes are a mistake, not something to pass over.
local function refuse(args, form, ...)
  for _, name in ipairs { ... } do
    local given = args[name]
    if given ~= nil and not (type(given) == 'table' and #given == 0) then
      local shown = name == 'file' and ("'%s'"):format(given) or '--' .. name
      errors.raise("%s: `%s` doesn't take %s", WHERE, form, shown)
    end
  end
end

-- ---- icot data check ----------------------------------------------------------------------------

local function print_lengths(report)
  put(('%-10s %7s %7s %7s\n'):format('tokens', 'min', 'median', 'max'))
  for _, part in ipairs(example_check.parts) do
    local min, median, max = report.lengths[part]:summary()
    put(('%-10s %7d %7.6g %7d\n'):format(part, min, median, max))
  end
end

-- The options of a task that `--set` and `--seed` give.
local function options_from(args, name)
  local given = {}
  for _, setting in ipairs(args.set) do given = overrides.merge(given, overrides.changes(setting, 1)) end
  if args.seed then given.seed = args.seed end
  given.task = name
  return tasks.check(given, WHERE .. ' ' .. name)
end

local function check_of_task(args)
  if not args.task then return nil end
  local task = tasks.find(args.task, WHERE, '--')
  if not task.check then errors.raise("%s: the task '%s' cannot recompute its examples", WHERE, args.task) end
  local chosen = options_from(args, args.task)
  return function(question, cot, answer) return task.check(question, cot, answer, chosen) end
end

local function verdict(report)
  if report.malformed + report.wrong > 0 then
    return counted.of(report.malformed, 'malformed line') .. ', '
      .. counted.of(report.wrong, 'wrong example')
  end
  return report.examples > 0 and 'nothing wrong' or 'the file is empty'
end

local function check_file(args)
  refuse(args, 'icot data check', 'split', 'count')
  if not args.task then refuse(args, 'icot data check', 'set', 'seed') end
  local path = args.file or errors.raise('%s: no file given: icot data check FILE', WHERE)
  local tokenizer = args.tokenizer or 'word'
  local count = text_files.counter(tokenizer)
  local report = example_check.file(path, WHERE, count, check_of_task(args), function(number, problem)
    put(('%s: line %d: %s\n'):format(path, number, problem))
  end)

  put(('%s: %s\n'):format(path, counted.of(report.examples, 'example')))
  if report.examples > 0 then print_lengths(report) end
  if tokenizer == 'word' and report.doubled > 0 then
    put(("%s two spaces in a row, which the tokenizer 'word' reads as an empty token\n"):format(
      counted.of(report.doubled, 'example has', 'examples have')))
  end
  put(verdict(report), '\n')
  return report.examples > 0 and report.malformed + report.wrong == 0 and 0 or 1
end

-- ---- icot data TASK -----------------------------------------------------------------------------

-- A word that is nearer to `check` than to the name of any task was to be that.
local function refuse_misspelt_check(given)
  if names.nearest(given, { 'check', unpack(tasks.names()) }) ~= 'check' then return end
  errors.raise("%s: there is no task '%s'; did you mean `icot data check`?", WHERE, given)
end

-- What a probe would ask for is tried here, too, where whoever writes a task looks first.
local function try_quantities(task, chosen, corpus, i)
  local question, cot, answer = corpus:texts(i)
  task.quantities(question, cot, answer, chosen)
end

local function print_examples(args)
  refuse_misspelt_check(args.what)
  refuse(args, 'icot data ' .. args.what, 'file', 'task', 'tokenizer')
  local task, chosen, split = tasks.find(args.what, WHERE), options_from(args, args.what), args.split or 'test'
  local loaded = tasks.load(chosen, split)
  local corpus = loaded:corpus(split, WHERE)
  if corpus:size() == 0 then
    errors.raise('%s %s: the %s split has no examples; --split names another', WHERE, args.what, split)
  end
  for i = 0, math.min(args.count or 10, corpus:size()) - 1 do
    put(corpus:text(i), '\n')
    if task.quantities then try_quantities(task, chosen, corpus, i) end
  end
  loaded:free()
  return 0
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code 0 when all is well, 1 when `check` found something wrong
---raises an error for bad options and files that cannot be read
function data.run(args)
  local exit_code = args.what == 'check' and check_file(args) or print_examples(args)
  finish_output()
  return exit_code
end

return data
