--- `icot frontier`: accuracy against tokens generated and time per example, over the stages of a run.
---
---   icot frontier results/mult.h5
---   icot frontier results/mult.h5 --examples 5000 --out results/mult.frontier.h5
local common = require 'icot.cli.common'
local counted = require 'icot.base.counted'
local declare = require 'icot.cli.declare'
local frontier = require 'icot.frontier'
local frontier_file = require 'icot.frontier.file'
local interrupt = require 'icot.engine.interrupt'
local json = require 'icot.base.json'
local kept_stages = require 'icot.saved.kept_stages'
local options = require 'icot.base.options'
local terminal = require 'icot.base.terminal'
local text_table = require 'icot.base.text_table'

local command = {}

local SINGLE_EXAMPLES, FINDINGS = 100, 'frontier'

--- Describes the command to the argument parser.
---@param parser table a command of lua-argparse
function command.configure(parser)
  parser:argument('run', "a run file, best of a run that keeps all its stages (checkpoint.keep.stages = 'all')")
    :argname('RUN')
  declare.integer(parser, '--examples', 'at most this many test examples; default: as in the recipe', 1,
                  options.largest_integer)
  declare.integer(parser, '--single', 'at most this many decoded one at a time, to measure time; default: 100', 1,
                  options.largest_integer)
  declare.tables(parser, 'path of the table', FINDINGS)
  declare.threads(parser)
  declare.device(parser)
end

local column = text_table.column

local columns = {
  column('step', 'step', '%d'), column('removed', 'removed', '%d'), column('CoT left', 'cot_left', '%d'),
  column('accuracy', 'accuracy', '%.3f'), column('tokens', 'tokens_per_example', '%.1f'),
  column('ms, batch ' .. frontier.BATCH, 'milliseconds_batch', '%.2f'),
  column('ms, batch 1', 'milliseconds_single', '%.2f'),
  { 'best for', function(point)
    local tokens, time = point.on_frontier_tokens, point.on_frontier_time
    return tokens and time and 'tokens, time' or tokens and 'tokens' or time and 'time' or ''
  end, text = true },
}

-- What is left of the CoT: '3 CoT tokens'.
local function left_of(point, found)
  return counted.of(point.cot_left, 'CoT ' .. (found[1].description.config.removal.unit or 'token'))
end

local function print_choice(points, found)
  local explicit = frontier.explicit_accuracy(points)
  local chosen = frontier.choose(points, explicit)
  if not explicit then
    print('\nNo checkpoint with all CoT was kept, so there is nothing to compare with.')
  elseif chosen then
    print(('\nMost internalized within %g of the accuracy with all CoT (%.3f): step %d, %s left\n%s')
      :format(frontier.TOLERANCE, explicit, chosen.step, left_of(chosen, found), chosen.checkpoint))
  end
  local keep = found[#found].description.config.checkpoint
  if keep and keep.keep.stages ~= 'all' then
    print(("\nThe run kept its last %s stage ends; checkpoint = { keep = { stages = 'all' } } keeps all.")
      :format(keep.keep.stages))
  end
end

local function write(path, run_path, points, found, precision, force)
  local description = found[1].description
  local log = frontier_file.create {
    path = path, force = force, recipe = description.recipe, source = found[1].source,
    config = json.encode(description.config),
    attributes = {
      run = run_path, arm = description.arm, seed = description.seed, precision = precision,
      device = common.device_name(),
    },
  }
  for _, point in ipairs(points) do log:point(point) end
  log:close('finished')
end

local function run_with(args, path, found)
  local precision = common.use_precision(found[1])
  local points = frontier.measure(found, {
    examples = args.examples, single = args.single or SINGLE_EXAMPLES,
    on_data = function(data) common.tell_other_data(found[1], data) end,
  }, function(point)
    terminal.tell(('step %d, %s left: accuracy %.3f'):format(point.step, left_of(point, found), point.accuracy))
  end)
  frontier.mark(points)
  text_table.print(io.stdout, text_table.lay_out(columns, points))
  print_choice(points, found)
  write(path, args.run, points, found, precision, args.force)
  print(('\nfrontier  %s'):format(path))
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error: there are no checkpoints, its data are gone, the table is there already or cannot be written.
function command.run(args)
  common.use_threads(args)
  common.use_device(args)
  local path = common.path_of_tables(args, FINDINGS)
  local found = kept_stages.checkpoints(args.run, 'frontier')
  return interrupt.run(run_with, args, path, found)
end

return command
