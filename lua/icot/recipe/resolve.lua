--- Works out one run's configuration: defaults, options of its dataset and schedule, and what depends
--- on several fields at once.
local counted = require 'icot.base.counted'
local errors = require 'icot.base.errors'
local fields = require 'icot.recipe.fields'
local gpt2 = require 'icot.gpt2'
local methods = require 'icot.schedule.methods'
local model_file = require 'icot.model.model_file'
local names = require 'icot.base.names'
local options = require 'icot.base.options'
local pretrained = require 'icot.gpt2.pretrained'
local schedule = require 'icot.schedule'
local tasks = require 'icot.data.tasks'
local values = require 'icot.base.values'

local resolve = {}

-- Looks up a name, or raises an error that tells the nearest one.
local function look_up(map, name, where, path)
  if type(name) == 'string' and map[name] then return map[name] end
  errors.raise('%s: %s: got %s; %s', where, path, values.show(name), names.hint(name, names.sorted(map)))
end

-- `required`: one of the two must be given; never both.
local function check_alternatives(given, group, where, path, required)
  local first, second = group[1], group[2]
  if given[first] ~= nil and given[second] ~= nil then
    errors.raise('%s: %s: give either %s or %s, not both', where, path, first, second)
  elseif required and given[first] == nil and given[second] == nil then
    errors.raise('%s: %s: give either %s or %s', where, path, first, second)
  end
end

-- A table without one of its fields.
local function without(given, name)
  local rest = {}
  for key, value in pairs(given) do
    if key ~= name then rest[key] = value end
  end
  return rest
end

local function resolve_model(model, where)
  for _, group in ipairs(fields.alternatives.model) do check_alternatives(model, group, where, 'model') end
  if model.preset then
    local preset = look_up(gpt2.presets, model.preset, where, 'model.preset')
    model.layers, model.heads, model.width = preset.layers, preset.heads, preset.width
  elseif model.pretrained then
    local found = pretrained.inspect(model.pretrained, where .. ': model.pretrained')
    model.layers, model.heads, model.width = found.layers, found.heads, found.width
    model.context = model.context or found.context
  end
  for _, name in ipairs { 'layers', 'heads', 'width' } do
    if not model[name] then errors.raise('%s: model.%s is missing (or give model.preset)', where, name) end
  end
  if model.width % model.heads ~= 0 then
    errors.raise('%s: model.width: got %d, expected a multiple of model.heads (%d)', where, model.width, model.heads)
  end
end

local function resolve_schedule(given, where)
  if type(given) ~= 'table' then return given end
  local kind = look_up(schedule.kinds, given.kind, where, 'schedule.kind')
  local checked = options.check(kind.options, without(given, 'kind'), where, 'schedule.')
  for _, group in ipairs(fields.alternatives.schedule) do
    local required = group.required and kind.options[group[1]] and kind.options[group[2]]
    check_alternatives(checked, group, where, 'schedule', required)
  end
  local problem = kind.check and kind.check(checked)
  if problem then errors.raise('%s: schedule.%s', where, problem) end
  checked.kind = given.kind
  return checked
end

-- Only one method reads it; a teacher that is there already has to fit.
local function resolve_distillation(config, where)
  if not methods.is_distillation(config.method) then
    config.distillation = nil -- as with a schedule
    return
  end
  if config.fork_from then
    errors.raise("%s: fork_from: the method '%s' is a chain of runs, which cannot begin at one checkpoint", where,
                 config.method)
  end
  local given, model = config.distillation, config.model
  for _, group in ipairs(fields.alternatives.distillation) do
    check_alternatives(given, group, where, 'distillation')
  end
  local folder = given.teacher
  if not folder then return end
  local found = pretrained.inspect(folder, where .. ': distillation.teacher')
  if found.layers ~= model.layers or found.width ~= model.width then
    errors.raise('%s: distillation.teacher: %s has %d layers of width %d, but the model has %d of width %d', where,
                 folder, found.layers, found.width, model.layers, model.width)
  end
end

local function resolve_removal(removal, seed, where)
  if removal.side == 'random' then removal.order_seed = removal.order_seed or seed end
  if removal.unit == 'step' and removal.side ~= 'left' and removal.side ~= 'right' then
    errors.raise("%s: removal.side: got %s, expected 'left' or 'right' with removal.unit = 'step'", where,
                 values.show(removal.side))
  end
end

-- What leads the CoT instead of what is gone: the positions of nothing else may tell of that.
local function resolve_thoughts(config, where)
  local method, removal = config.method, config.removal
  if not methods.has_pauses(method) then
    removal.thoughts, removal.most_thoughts = nil, nil -- as with a schedule
  elseif methods.has_thoughts(method) then
    removal.thoughts = removal.thoughts or 1
  end
  if removal.most_thoughts and not removal.thoughts then
    errors.raise("%s: removal.most_thoughts: got %d, but without removal.thoughts each removed token becomes a pause",
                 where, removal.most_thoughts)
  end
  if not removal.thoughts then return end
  for _, field in ipairs { { 'side', 'left' }, { 'positions', 'closed_up' } } do
    local name, wanted = unpack(field)
    if removal[name] ~= wanted then
      errors.raise("%s: removal.%s: got %s, but thoughts (method '%s') need '%s'", where, name,
                   values.show(removal[name]), method, wanted)
    end
  end
  if methods.has_thoughts(method) and removal.unit == 'token' and not removal.most_thoughts then
    errors.raise("%s: removal.most_thoughts is missing: with removal.unit = 'token' each removed token adds %s, "
                 .. "each a pass of its own; give the most an example may have, or use removal.unit = 'step'", where,
                 counted.of(removal.thoughts, 'thought'))
  end
end

-- A schedule that goes back needs a checkpoint to go back to.
local function require_kept_stages(config, where)
  local given = config.schedule
  local kind = type(given) == 'table' and schedule.kinds[given.kind]
  if not kind or not kind.goes_back or not kind.goes_back(given) or config.checkpoint.keep.stages ~= 0 then return end
  errors.raise("%s: checkpoint.keep.stages: got 0, but the schedule '%s' goes back to the end of a stage; keep one or "
               .. 'more, or set schedule.patience to false', where, given.kind)
end

-- A dataset that can take any tokenizer takes that of a pretrained model, unless the recipe names one.
local function resolve_dataset(given, model, where)
  local task = tasks.find(given.task, where, 'dataset.')
  local folder = type(model) == 'table' and model.pretrained
  if folder and task.options.tokenizer and given.tokenizer == nil and model_file.has_words(folder) then
    given.tokenizer = folder
  end
  return tasks.check(given, where, 'dataset.')
end

--- Checks the path of a run file or index.
---@param path any
---@param where string
function resolve.output(path, where)
  if type(path) ~= 'string' or not path:find('[^/]%.h5$') then
    errors.raise('%s: output: got %s, expected a path that ends in .h5', where, values.show(path))
  elseif path:find('%c') then
    errors.raise('%s: output: got %s, expected a path without control characters', where, values.show(path))
  elseif path:find('^%.+%.h5$') or path:find('/%.+%.h5$') then -- the model's folder would be . or ..
    errors.raise('%s: output: got %s, expected the name of a file before .h5', where, values.show(path))
  end
end

--- Resolves one run.
---@param given table the recipe's fields, with those of the arm and of `--set` laid over them
---@param where string for errors
---@return table config see icot.recipe.fields.run; `schedule` and `distillation` are nil where the method does not use
---   them
function resolve.run(given, where)
  local config = options.check(fields.run, given, where)
  config.dataset = resolve_dataset(config.dataset, config.model, where)
  resolve_model(config.model, where)
  for _, group in ipairs(fields.alternatives.train) do check_alternatives(config.train, group, where, 'train') end
  local limit = config.train.steps or config.train.epochs or config.train.tokens or config.train.flops
  if not limit then errors.raise('%s: train: give either steps or epochs (or tokens, or flops)', where) end
  if config.train.accumulate > config.train.batch then
    errors.raise('%s: train.accumulate: got %d parts for a train.batch of %d examples, expected no more', where,
                 config.train.accumulate, config.train.batch)
  end

  config.fork_from = config.fork_from and config.fork_from:gsub('{seed}', ('%d'):format(config.seed)) or nil
  resolve_thoughts(config, where)
  resolve_removal(config.removal, config.seed, where)
  resolve_distillation(config, where)
  config.schedule = resolve_schedule(config.schedule, where)
  if not methods.has_schedule(config.method) then
    -- arms without a schedule, whose only stage has all of the CoT or none, share a recipe with those that have one
    config.schedule, config.removal.smoothing, config.removal.replay = nil, false, 0
  elseif not config.schedule then
    errors.raise("%s: schedule is missing; the method '%s' needs one", where, config.method)
  end
  require_kept_stages(config, where)
  return config
end

return resolve
