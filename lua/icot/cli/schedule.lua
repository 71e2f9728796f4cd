--- `icot schedule`: draws what the schedule of a recipe will do, before anything is trained.
---
---   icot schedule recipes/mult_9x9.lua --set schedule.tokens_per_epoch=4
local budget = require 'icot.training.budget'
local counted = require 'icot.base.counted'
local declare = require 'icot.cli.declare'
local errors = require 'icot.base.errors'
local fork = require 'icot.training.fork'
local json = require 'icot.base.json'
local options = require 'icot.base.options'
local preview = require 'icot.schedule.preview'
local recipe = require 'icot.recipe'
local sampler = require 'icot.text.sampler'
local schedule = require 'icot.schedule'
local tasks = require 'icot.data.tasks'
local terminal = require 'icot.base.terminal'

local command = {}

local ROWS, USUAL_COLUMNS, MOST_COLUMNS = 12, 72, 120

local function number(text)
  local value = tonumber(text)
  if value and value == value then return value end
  return nil, ("expected a number, got '%s'"):format(text)
end

local function share(text)
  local value = number(text)
  if value and value >= 0 and value <= 1 then return value end
  return nil, ("--accuracy: got '%s', expected a share from 0 to 1"):format(text)
end

--- Describes the command to the argument parser.
---@param parser table of lua-argparse
function command.configure(parser)
  parser:argument('recipe', 'the recipe, a Lua file')
  declare.settings(parser, 'changes a field of the recipe: --set schedule.tokens_per_epoch=4')
  declare.integer(parser, '--seed', "used instead of the recipe's seed or seeds", 0, options.largest_integer)
  parser:option('--accuracy', 'accuracy that every validation is assumed to give; default: 1'):convert(share):default(1)
    :argname('A')
  parser:option('--loss', 'loss that every validation is assumed to give; default: 0')
    :convert(number):default(0):argname('L')
end

-- One run of each arm that has a schedule.
local function runs_to_show(loaded)
  local shown, seen = {}, {}
  for _, run in ipairs(loaded.runs) do
    if run.config.schedule and not seen[run.arm] then
      seen[run.arm] = true
      shown[#shown + 1] = run
    end
  end
  if #shown == 0 then errors.raise('schedule: %s: no arm has a schedule; they remove all CoT or none', loaded.name) end
  return shown
end

-- What is known of a run's training before it starts. Arms mostly share a dataset, so what was found out is kept.
local function info_of(config, known)
  local key = json.encode(config.dataset) .. config.removal.unit
  if not known[key] then
    local data = tasks.load_for_run(config)
    known[key] = { size = data.train:size(), max_cot = data.max_cot }
    data:free()
  end
  local found = known[key]
  local steps_per_epoch = sampler.new(found.size, config.train.batch, config.seed).steps_per_epoch
  local limit = budget.new(config.train, steps_per_epoch)
  if limit.kind ~= 'steps' then
    errors.raise('schedule: the number of updates is only known with train.steps or train.epochs')
  end
  return { steps_per_epoch = steps_per_epoch, total_steps = limit.amount, max_cot = found.max_cot }
end

-- Validations are only assumed here; a schedule that looks at them does something else in a training.
local function tell_assumption(config, args)
  local kind = type(config.schedule) == 'table' and schedule.kinds[config.schedule.kind]
  if kind and not kind.looks_at_validations then return end
  print(('every validation is assumed to give accuracy %g and loss %g (--accuracy, --loss)'):format(args.accuracy,
                                                                                                   args.loss))
end

local function show(run, info, args)
  local config = run.config
  local every = config.train.evaluate_every
  local stages = preview.stages(schedule.of(config, info), info, {
    evaluate_every = every == 'epoch' and info.steps_per_epoch or every, removal = config.removal,
    accuracy = args.accuracy, loss = args.loss, start = fork.place(run, info),
  })
  local columns = math.min(MOST_COLUMNS, terminal.columns(io.stdout) or USUAL_COLUMNS) - #tostring(info.max_cot) - 3
  print(('arm %s: %s removed after %s (%.4g epochs)'):format(
    run.arm, counted.part_of(stages[#stages].removed, info.max_cot, 'CoT ' .. config.removal.unit),
    counted.of(info.total_steps, 'update'), info.total_steps / info.steps_per_epoch))
  tell_assumption(config, args)
  print('\n' .. table.concat(preview.draw(stages, info, math.max(20, columns), ROWS), '\n') .. '\n')
  print(table.concat(preview.table_of(stages), '\n'))
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error when the recipe is wrong, its data cannot be had, or its schedule misbehaves
function command.run(args)
  local known = {}
  for i, run in ipairs(runs_to_show(recipe.load(args.recipe, { settings = args.set, seed = args.seed }))) do
    if i > 1 then print() end
    show(run, info_of(run.config, known), args)
  end
  return 0
end

return command
