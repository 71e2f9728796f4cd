--- `icot study RECIPE.lua`: runs a study in processes of their own, as many at a time as are wanted.
local declare = require 'icot.cli.declare'
local memory_budget = require 'icot.study.memory_budget'
local run = require 'icot.cli.run'

local study = {}

--- Describes the command to the argument parser.
---@param command table a command of lua-argparse
function study.configure(command)
  run.configure(command)
  declare.integer(command, '--jobs', 'runs at a time, each a process with its share of the threads; default: 1', 1,
                  1024)
  command:option('--memory', 'memory in GiB that all processes together may use; default: what the machine has left')
    :argname('GIB'):convert(function(text)
      local number = tonumber(text)
      if number and number > 0 and number < math.huge then return number end
      return nil, ("--memory: got '%s', expected a number above 0"):format(text)
    end)
  command:flag('--worker', 'for icot itself: runs the one run described on standard input'):hidden(true)
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code as `icot RECIPE`
function study.run(args)
  if args.worker then return require('icot.study.worker').run() end
  return run.start(args, { jobs = args.jobs or 1, memory = args.memory and args.memory * memory_budget.GIB })
end

return study
