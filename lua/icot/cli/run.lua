--- `icot RECIPE.lua`: reads the recipe, runs it, and tells by the exit code how that went.
local common = require 'icot.cli.common'
local declare = require 'icot.cli.declare'
local errors = require 'icot.base.errors'
local options = require 'icot.base.options'
local overrides = require 'icot.recipe.overrides'
local run_paths = require 'icot.results.run_paths'
local terminal = require 'icot.base.terminal'

local run = {}

--- Describes the arguments to the parser.
---@param parser table of lua-argparse
function run.configure(parser)
  parser:argument('recipe', 'the recipe, a Lua file'):args('?')
  declare.settings(parser, 'changes a field of the recipe: --set optimizer.lr=1e-4')
  declare.integer(parser, '--seed', "used instead of the recipe's seed or seeds", 0, options.largest_integer)
  parser:option('--out', 'path of the run file, or of the index of a study'):argname('PATH')
  declare.threads(parser)
  declare.device(parser, "used instead of the recipe's")
  parser:flag('--force', 'overwrite existing results')
  parser:option('--resume', 'continue from the newest checkpoint, if there is one; RUN: run file or index to resume')
    :argname('RUN'):args('?')
  parser:flag('--allow-changes', 'resume even if the recipe or the data has changed')
  parser:flag('--quiet', 'show no progress, only results and errors')
end

-- From here on signals end the run in order, and the first one says so.
local function catch_signals(core, quiet)
  local line_break = terminal.columns(io.stderr) and '\n' or '' -- ends the line of progress, and the ^C in it
  core.C.icot_interrupts_notice(
    not quiet and line_break .. 'icot: stopping after this step; a second signal stops at once\n' or nil)
  core.check(core.C.icot_interrupts_catch())
end

-- The device is a field of the recipe like others, which a flag of its own sets.
local function settings_of(arguments)
  if not arguments.device then return arguments.set end
  local settings = { unpack(arguments.set) }
  table.insert(settings, assert(overrides.parse('device=' .. arguments.device)))
  return settings
end

-- `--resume RUN` names the results; without a recipe, it is the one that they were made with.
local function load_recipe(arguments)
  local resumed, settings = arguments.resume and arguments.resume[1], settings_of(arguments)
  if resumed then resumed = run_paths.run_file(resumed) end
  if resumed and resumed:find('%.lua$') and not arguments.recipe then -- icot --resume RECIPE
    arguments.recipe, resumed = resumed, nil
  end
  if resumed and not resumed:find('%.h5$') then
    require('icot.saved.not_a_run').refuse(resumed, '--resume')
    errors.raise('--resume: %s: is no run file, which ends in .h5, nor the folder of one', arguments.resume[1])
  end
  if arguments.resume and arguments.force then errors.raise('give either --resume or --force, not both') end
  if resumed and arguments.out then errors.raise('--resume %s: names the results already; leave out --out', resumed) end
  if arguments.recipe then
    return require('icot.recipe').load(arguments.recipe, {
      settings = settings, seed = arguments.seed, output = resumed or arguments.out,
    })
  elseif not resumed then
    errors.raise('which recipe? (or --resume RUN; see icot --help)')
  end
  return require('icot.saved.saved_recipe').of(resumed, { settings = settings, seed = arguments.seed })
end

--- Runs a recipe, or, with `processes`, a study.
---@param arguments table see `configure`
---@param processes? { jobs: integer, memory?: number } runs at a time, in processes; bytes that they may take
---@return integer exit_code 0: all runs finished; 1: one failed; 128 + N: signal N came
function run.start(arguments, processes)
  local core, recipe = require 'icot.engine.core', load_recipe(arguments)
  if processes and not recipe.is_study then
    errors.raise('recipe %s: it has no arms, seeds or grid, so it is not a study; run it with icot %s', recipe.path,
                 recipe.path)
  end
  common.use_threads(arguments)
  catch_signals(core, arguments.quiet)

  local finished = require('icot.study').run(recipe, {
    overwrite = arguments.force, quiet = arguments.quiet, traceback = arguments.traceback,
    resume = arguments.resume ~= nil, allow_changes = arguments.allow_changes,
    threads = arguments.threads, jobs = processes and processes.jobs, memory = processes and processes.memory,
  })
  if finished then return 0 end
  return core.C.icot_interrupted() ~= 0 and require('icot.engine.interrupt').exit_code() or 1
end

--- Runs a recipe, one run after another in this process.
---@param arguments table see `configure`
---@return integer exit_code as `start`
function run.run(arguments)
  return run.start(arguments)
end

return run
