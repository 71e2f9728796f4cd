--- `icot RECIPE.lua`: reads the recipe, runs it, and tells by the exit code how that went.
local declare = require 'icot.cli.declare'
local options = require 'icot.options'
local overrides = require 'icot.overrides'
local terminal = require 'icot.terminal'

local run = {}

local SIGNALLED = 128 -- exit code of a program that a signal ended, plus the signal's number

--- Describes the arguments to the parser.
---@param parser table of lua-argparse
function run.configure(parser)
  parser:argument('recipe', 'the recipe, a Lua file')
  parser:option('--set', 'changes a field of the recipe: --set optimizer.lr=1e-4; may be repeated')
    :argname('KEY=VALUE'):count('*'):convert(overrides.parse)
  declare.integer(parser, '--seed', "takes the place of the recipe's seed or seeds", 0, options.largest_integer)
  parser:option('--out', 'where the run file goes; of a study, its index'):argname('PATH')
  declare.integer(parser, '--threads', 'CPU threads; default: all cores', 1, 1024)
  parser:flag('--force', 'overwrite results that are there')
  parser:flag('--quiet', 'no progress, only results and errors')
end

-- From here on signals end the run in order, and the first one says so.
local function catch_signals(core, quiet)
  local line_break = terminal.columns(io.stderr) and '\n' or '' -- ends the line of progress, and the ^C in it
  core.C.icot_interrupts_notice(
    not quiet and line_break .. 'icot: stopping after this step; a second signal stops at once\n' or nil)
  core.check(core.C.icot_interrupts_catch())
end

--- Runs a recipe.
---@param arguments table see `configure`
---@return integer exit_code 0: all runs finished; 1: one failed; 128 + N: signal N came
function run.run(arguments)
  local core = require 'icot.core'
  local recipe = require('icot.recipe').load(arguments.recipe, {
    settings = arguments.set, seed = arguments.seed, output = arguments.out,
  })
  if arguments.threads then core.check(core.C.icot_set_threads(arguments.threads)) end
  catch_signals(core, arguments.quiet)

  local finished = require('icot.study').run(recipe, {
    overwrite = arguments.force, quiet = arguments.quiet, traceback = arguments.traceback,
  })
  if finished then return 0 end
  local signal = core.C.icot_interrupted()
  return signal ~= 0 and SIGNALLED + signal or 1
end

return run
