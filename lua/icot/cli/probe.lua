--- `icot probe`: what linear probes can read out of the hidden states of a run's stages, and where its heads look.
---
---   icot probe results/quickstart/icot-1.h5
---   icot probe results/mult.h5 --no-cot results/direct.h5 --stages 8 --show 1,17
local cleanup = require 'icot.base.cleanup'
local common = require 'icot.cli.common'
local controls = require 'icot.probe.controls'
local declare = require 'icot.cli.declare'
local interrupt = require 'icot.engine.interrupt'
local json = require 'icot.base.json'
local kept_stages = require 'icot.saved.kept_stages'
local options = require 'icot.base.options'
local probe = require 'icot.probe'
local probe_file = require 'icot.probe.file'
local summary = require 'icot.probe.summary'
local terminal = require 'icot.base.terminal'
local text_table = require 'icot.base.text_table'

local command = {}

local EXAMPLES, STAGES, FINDINGS = 1000, 5, 'probes'

-- The numbers of examples, from 1 on, that --show takes.
local function numbers_of(text)
  local numbers = {}
  if text == 'none' then return numbers end
  for item in (text .. ','):gmatch('([^,]*),') do
    local number = item:find('^%d+$') and tonumber(item)
    if not number or number < 1 or number > options.largest_integer then
      return nil, ("--show: got '%s', expected numbers of examples from 1 on, such as 1,17, or none"):format(text)
    end
    numbers[#numbers + 1] = number
  end
  return numbers
end

-- A function rather than `choices`, which argparse has from 0.7 on only.
local function split_of(text)
  if text == 'valid' or text == 'train' then return text end
  return nil, ("--fit: got '%s', expected valid or train"):format(text)
end

--- Describes the command to the argument parser.
---@param parser table a command of lua-argparse
function command.configure(parser)
  parser:argument('run', "a run file, best of a run that keeps all its stages (checkpoint.keep.stages = 'all')")
    :argname('RUN')
  parser:option('--no-cot', 'run without CoT to compare with; default: that of the same study and seed')
    :argname('RUN')
  declare.integer(parser, '--stages', ('at most this many stages, evenly spread; default: %d'):format(STAGES), 1,
                  options.largest_integer)
  declare.integer(parser, '--examples', ('at most this many, to fit and to test probes; default: %d'):format(EXAMPLES),
                  1, options.largest_integer)
  parser:option('--fit', 'split that probes are fitted to: valid, or train, which the run has seen')
    :convert(split_of):default('valid')
  parser:option('--quantities', "only quantities with this in their name: 'running sum'"):argname('TEXT')
  parser:option('--places', "only places with this in their name: 'answer', '####'"):argname('TEXT')
  parser:option('--show', 'numbers of the test examples whose attention maps are kept, or none')
    :argname('N,N'):convert(numbers_of):default('1')
  declare.tables(parser, 'path of tables and maps', FINDINGS)
  declare.threads(parser)
  declare.device(parser)
end

-- ---- What is printed ----------------------------------------------------------------------------

local function share(name)
  return text_table.column(name, name, '%.3f')
end

local no_cot = share 'no_cot'
no_cot.wanted = function(line) return line.no_cot end

local columns = {
  text_table.column('step', 'step', '%d'),
  text_table.column('removed', 'removed', '%d'),
  { 'quantities', function(line) return ('%s (%d)'):format(line.group, line.quantities) end, text = true },
  share 'accuracy', share 'untrained', no_cot, share 'shuffled', share 'baseline',
  { 'clearest', function(line)
    local row = line.clearest
    return ('%.3f %s, layer %d, %s'):format(row.accuracy, row.quantity:match(', (.*)') or row.quantity, row.layer,
                                           row.place)
  end, text = true },
}

local function print_summary(rows)
  text_table.print(io.stdout, text_table.lay_out(columns, summary.of(rows)))
  print('\nEach quantity is shown at the layer and place where it exceeds the untrained model the most; so are its '
        .. 'controls.')
end

-- ---- Running it ---------------------------------------------------------------------------------

-- The run without CoT to compare with, or none.
local function find_no_cot(args, found)
  local path = args.no_cot or controls.no_cot_beside(args.run, found[1].description)
  if path and not args.no_cot then terminal.tell('control without CoT: ' .. path) end
  return path and controls.no_cot(path) or nil
end

local function create_log(args, path, looked_at)
  local found = looked_at.plan.stages[1]
  local description = found.description
  return probe_file.create {
    path = path, force = args.force, recipe = description.recipe, source = found.source,
    config = json.encode(description.config), longest = looked_at.longest_shown,
    attributes = {
      run = args.run, arm = description.arm, seed = description.seed, fit = args.fit, precision = probe.PRECISION,
      device = common.device_name(),
    },
  }
end

-- Ends the file as the work has ended; what was found before an error or Ctrl-C stays in it.
local function fill_log(log, looked_at)
  local ok, problem = pcall(looked_at.run, looked_at, log, terminal.tell)
  log:close(ok and 'finished' or interrupt.is_interrupt(problem) and 'interrupted' or 'failed')
  if not ok then error(problem, 0) end
end

local function run_with(args, path, plan)
  local looked_at = probe.new(plan)
  cleanup.always(function() looked_at:free() end, function()
    fill_log(create_log(args, path, looked_at), looked_at)
    print_summary(looked_at.rows)
    print(('\nprobes    %s'):format(path))
  end)
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error: there are no checkpoints, its data are gone, the file is there already or cannot be written.
function command.run(args)
  common.use_threads(args)
  common.use_device(args)
  local path = common.path_of_tables(args, FINDINGS)
  local found = kept_stages.checkpoints(args.run, 'probe')
  return interrupt.run(run_with, args, path, {
    stages = kept_stages.spread(found, args.stages or STAGES), no_cot = find_no_cot(args, found), fit = args.fit,
    examples = args.examples or EXAMPLES, quantities = args.quantities, places = args.places, show = args.show,
  })
end

return command
