--- The frontier of a run: how well it answers with how much of the CoT still written, from its stage checkpoints.
local cleanup = require 'icot.base.cleanup'
local errors = require 'icot.base.errors'
local evaluate = require 'icot.training.evaluate'
local models = require 'icot.model'
local removal = require 'icot.text.removal'
local saved_recipe = require 'icot.saved.saved_recipe'
local tasks = require 'icot.data.tasks'
local training_state = require 'icot.saved.training_state'

local frontier = {}

frontier.BATCH = 256 -- examples decoded at once, where it is throughput that counts
frontier.TOLERANCE = 0.01 -- of accuracy that one may give away for less CoT
local WARM_UP = 8 -- examples, before anything is timed

---@class icot.FrontierPoint a row of /frontier; see icot.results.table_formats
---@field step integer
---@field removed integer CoT tokens, or steps
---@field cot_left integer the same, at most
---@field accuracy number on the test examples
---@field tokens_per_example number generated, with separators
---@field milliseconds_batch number per example, many at a time
---@field milliseconds_single number per example, one at a time
---@field on_frontier_tokens boolean no other point is as accurate with fewer tokens
---@field on_frontier_time boolean the same for milliseconds_single
---@field chosen boolean the most internalized one that is about as good as with all CoT
---@field checkpoint string path

-- ---- Measuring ----------------------------------------------------------------------------------

local function measure(found, data, wanted)
  local config, removing = found.description.config, saved_recipe.removal(found)
  local model = models.of_checkpoint(found, data)
  local removed = training_state.unpack_removed(found.description.state.removed)
  local function run(examples, batch)
    return evaluate.run(model, data, 'test', removed, removing, {
      examples = examples, batch = batch, samples = 0,
    })
  end
  local many, one = cleanup.always(function() model:free() end, function()
    run(WARM_UP, frontier.BATCH)
    return run(wanted.examples or config.evaluate.examples, frontier.BATCH), run(wanted.single, 1)
  end)
  removed = removal.of_longest(removing, removed, data.max_cot)
  return {
    step = found.description.state.step, removed = removed, cot_left = data.max_cot - removed,
    accuracy = many.accuracy, tokens_per_example = many.tokens_generated / many.examples,
    milliseconds_batch = 1000 / many.examples_per_second, milliseconds_single = 1000 / one.examples_per_second,
    checkpoint = found.path,
  }
end

--- Evaluates checkpoints of a run on its test examples.
---@param checkpoints icot.Checkpoint[]
---@param wanted { examples?: integer, single: integer, on_data?: fun(data: icot.Dataset) } most examples, many at a
---   time (default: as in the recipe) and one at a time; what is called once the dataset is there
---@param note fun(point: icot.FrontierPoint) called after each
---@return icot.FrontierPoint[]
---raises an error: the data are gone, Ctrl-C (icot.engine.interrupt).
function frontier.measure(checkpoints, wanted, note)
  local config, points = checkpoints[1].description.config, {}
  local data = tasks.load_for_run(config)
  return cleanup.always(function() data:free() end, function()
    if wanted.on_data then wanted.on_data(data) end
    if data.test:size() == 0 then errors.raise('frontier: the dataset has no test examples') end
    for i, found in ipairs(checkpoints) do
      points[i] = measure(found, data, wanted)
      note(points[i])
    end
    return points
  end)
end

-- ---- Judging ------------------------------------------------------------------------------------

-- Whether a point is beaten by none: as accurate at less cost, or more accurate at no more.
local function is_optimal(point, points, cost)
  for _, other in ipairs(points) do
    local no_worse = other.accuracy >= point.accuracy and other[cost] <= point[cost]
    if no_worse and (other.accuracy > point.accuracy or other[cost] < point[cost]) then return false end
  end
  return true
end

--- Marks the points that are best for what they cost (Pareto-optimal), in tokens and in time.
---@param points icot.FrontierPoint[]
function frontier.mark(points)
  for _, point in ipairs(points) do
    point.on_frontier_tokens = is_optimal(point, points, 'tokens_per_example')
    point.on_frontier_time = is_optimal(point, points, 'milliseconds_single')
  end
end

--- The accuracy with all CoT: of the last point that has all of it.
---@param points icot.FrontierPoint[] the oldest first
---@return number? accuracy nil: no such checkpoint was kept
function frontier.explicit_accuracy(points)
  local accuracy
  for _, point in ipairs(points) do
    if point.removed == 0 then accuracy = point.accuracy end
  end
  return accuracy
end

--- Chooses the point with the most CoT removed whose accuracy is within frontier.TOLERANCE of the explicit one; of
--- several the most accurate.
---@param points icot.FrontierPoint[] each gets `chosen`
---@param explicit number?
---@return icot.FrontierPoint? chosen nil: there is none, or no explicit accuracy to compare with
function frontier.choose(points, explicit)
  local chosen
  for _, point in ipairs(points) do
    point.chosen = false
    local is_good = explicit and point.accuracy >= explicit - frontier.TOLERANCE - 1e-9
    local is_better = not chosen or point.removed > chosen.removed
      or point.removed == chosen.removed and point.accuracy > chosen.accuracy
    if is_good and is_better then chosen = point end
  end
  if chosen then chosen.chosen = true end
  return chosen
end

return frontier
