--- The command line: `icot RECIPE.lua …` runs a recipe, `icot COMMAND …` one of the commands below.
---
--- Exit codes: 0 done; 1 it failed; 2 the command line is wrong; 128 + N ended by signal N.
require('icot.base.bundled_modules').come_first()
local argparse = require 'argparse'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local names = require 'icot.base.names'
local terminal = require 'icot.base.terminal'
local values = require 'icot.base.values'

local cli = {}

local FAILED, WRONG_USAGE = 1, 2

--- Each command is a module { configure = function(parser), run = function(arguments) -> exit code }.
local commands = {
  data = 'icot.cli.data', eval = 'icot.cli.eval', export = 'icot.cli.export', schedule = 'icot.cli.schedule',
  study = 'icot.cli.study', frontier = 'icot.cli.frontier', probe = 'icot.cli.probe', fields = 'icot.cli.fields',
  ask = 'icot.cli.ask', checkpoints = 'icot.cli.checkpoints',
}

local recipe_help = [[
Trains what a recipe describes and writes what happened to an HDF5 run file.]]

local recipe_epilog = [[
commands:
   icot data check FILE        check a file of examples
   icot data TASK              print examples of a dataset
   icot data --help            more about these
   icot eval RUN               evaluate the model of a run or checkpoint once more
   icot ask RUN QUESTION       what the model answers to a question of one's own
   icot checkpoints RUN        the checkpoints of a run, and how much is removed at each
   icot study RECIPE --jobs N  run a study, N runs at a time
   icot frontier RUN           accuracy against tokens and time, over the stages of a run
   icot probe RUN              what hidden states reveal of partial results, over the stages of a run
   icot export RUN DIR         save a run's model for Hugging Face
   icot schedule RECIPE        draw when how many tokens are removed
   icot fields                 what a recipe may say: fields, their ranges and defaults

examples:
   icot recipes/quickstart.lua
   icot recipes/mult_4x4.lua --seed 7 --out results/seed7.h5
   icot recipes/mult_9x9.lua --set optimizer.lr=1e-4 --set train.epochs=20
   icot recipes/mult_9x9.lua --resume]]

-- With a device, the one that would be used is named too.
local function print_versions(device)
  local versions = require('icot.engine.core').versions()
  for _, line in ipairs {
    { 'icot', versions.icot }, { 'LuaJIT', versions.luajit:gsub('^LuaJIT ', '') }, { 'OpenBLAS', versions.openblas },
    { 'HDF5', versions.hdf5 }, { 'CPU kernels', versions.cpu_kernels },
  } do
    print(('%-12s %s'):format(line[1], line[2]))
  end
  if not device then return end
  local core = require 'icot.engine.core'
  core.use_device(device)
  print(('%-12s %s'):format(core.device()))
end

-- Tells of an error, below whatever the output has so far.
local function report(message)
  io.stdout:flush()
  terminal.tell(message)
end

local function add_common(parser)
  parser:flag('--traceback', 'after an error, show where in the code it was raised')
end

local function recipe_parser()
  local parser = argparse('icot', recipe_help, recipe_epilog)
  parser:flag('--version', 'versions of icot and of what it is built on')
  require('icot.cli.run').configure(parser)
  add_common(parser)
  return parser
end

local function command_parser(name)
  local parser = argparse('icot ' .. name)
  require(commands[name]).configure(parser)
  add_common(parser)
  return parser
end

-- A plain word that is neither a command nor a file: what may have been meant?
local function is_unknown_command(first)
  return first:find('^[%w_-]+$') and not first:find('^%-') and not files.kind(first)
end

local function usage_error(message, name)
  message = message:gsub('\n(%u)', function(letter) return '; ' .. letter:lower() end)
  local negative = message:match("^unknown option '(%-%d[^']*)'") -- which the parser takes for one
  if negative then message = ("got '%s', but no option takes a negative number"):format(negative) end
  if not name and (message:find('--jobs', 1, true) or message:find('--memory', 1, true)) then
    message = message .. '; it is an option of icot study'
  end
  report(('%s (see %s --help)'):format(message, name and 'icot ' .. name or 'icot'))
  return WRONG_USAGE
end

-- What an option is given, as `--option VALUE` or `--option=VALUE`.
local function argument_of(argv, option)
  for i, argument in ipairs(argv) do
    if argument == option then return argv[i + 1] end
    if argument:find(option .. '=', 1, true) == 1 then return argument:sub(#option + 2) end
  end
end

local function dispatch(argv)
  local first = argv[1]
  if not first then return usage_error('which recipe?') end
  if values.is_one_of('--version', argv) then
    print_versions(argument_of(argv, '--device'))
    return 0
  end
  if first == 'help' then return dispatch { argv[2] or '--help', argv[2] and '--help' } end
  local name = commands[first] and first
  if not name and is_unknown_command(first) then
    local hint = files.kind(first .. '.lua') and ('did you mean %s.lua?'):format(first)
      or names.hint(first, names.sorted(commands))
    return usage_error(('%s: neither a recipe file nor a command; %s'):format(first, hint))
  end
  local parser = name and command_parser(name) or recipe_parser()
  local ok, arguments = parser:pparse({ unpack(argv, name and 2 or 1) })
  if not ok then return usage_error(arguments, name) end
  return require(name and commands[name] or 'icot.cli.run').run(arguments) or 0
end

--- Runs the program.
---@param argv string[] the arguments, from 1
---@return integer exit_code
function cli.main(argv)
  local ok, result = xpcall(dispatch, function(raised)
    return errors.describe(raised, values.is_one_of('--traceback', argv))
  end, argv)
  if ok then return result end
  report(result)
  return FAILED
end

return cli
