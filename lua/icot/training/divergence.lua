--- Training that goes wrong: notices it, finds where it began, and does what the recipe says about it.
---
---     divergence = { policy = 'stop' }                     ends the run; its last checkpoint is kept
---     divergence = { policy = 'rollback', lr_scale = 0.5 } continues from there with half the learning rate
---     divergence = { policy = 'continue' }                 skips the update
local errors = require 'icot.base.errors'
local scope = require 'icot.engine.scope'

local divergence = {}

---@class icot.Divergence raised for the policy 'rollback'
---@field message string
---@field lr_scale number that of the training
local Divergence = {}
Divergence.__index = Divergence
Divergence.__tostring = function(self) return self.message end

--- Whether an error value asks for a rollback.
---@param raised any
---@return boolean
function divergence.is_divergence(raised)
  return getmetatable(raised) == Divergence
end

-- ---- What is wrong ------------------------------------------------------------------------------

-- Neither NaN nor infinite.
local function is_number(value)
  return value == value and math.abs(value) ~= math.huge
end

-- A loss that no model has that still predicts anything: guessing costs ln(vocabulary).
local function highest_loss(training)
  local given = training.config.divergence.loss_above
  if given ~= nil then return given or math.huge end
  if training.model.squared_error then return math.huge end
  return 10 * math.log(math.max(3, training.data.vocabulary.size))
end

--- What is wrong with a loss.
---@param training icot.Training
---@param loss number
---@return string? trouble nil: nothing
function divergence.of_loss(training, loss)
  if not is_number(loss) then return ('the loss is %g'):format(loss) end
  local highest = highest_loss(training)
  if loss > highest then return ('the loss is %g, above %g (divergence.loss_above)'):format(loss, highest) end
end

--- What is wrong with the norm of the gradients.
---@param norm number
---@return string? trouble
function divergence.of_gradient(norm)
  if not is_number(norm) then return ('the norm of the gradients is %g'):format(norm) end
end

-- ---- Where it began -----------------------------------------------------------------------------

local function is_finite(tensor)
  local values, n = tensor:read()
  local sum = 0
  for i = 0, n - 1 do sum = sum + values[i] * 0 end
  return sum == 0
end

--- Whether all parameters of a model are numbers.
---@param model icot.Module
---@return boolean
function divergence.has_finite_parameters(model)
  for _, parameter in ipairs(model:parameters()) do
    if not is_finite(parameter) then return false end
  end
  return true
end

local function first_bad_parameter(model)
  for _, each in ipairs(model:named_parameters()) do
    if not is_finite(each.tensor) then return 'the parameter ' .. each.name end
  end
end

-- The layers once more, in their order, with the parts of the batch that the update had.
local function first_bad_output(training, dropout)
  local found
  local function watch(name, output)
    if not found and not is_finite(output) then found = 'the output of ' .. name end
  end
  for _, part in ipairs(training.batch:parts(training.config.train.accumulate)) do
    scope.run(scope.no_grad, function() training.model:loss(part, dropout, watch) end)
    if found then return found end
  end
end

-- Gradients come into being from the last layer to the first.
local function first_bad_gradient(model)
  local named = model:named_parameters()
  for i = #named, 1, -1 do
    local bad = scope.run(function()
      local gradient = named[i].tensor:grad()
      return gradient ~= nil and not is_finite(gradient)
    end)
    if bad then return 'the gradient of ' .. named[i].name end
  end
end

-- What stopped being a number first; nil if all are numbers still.
local function locate(training, dropout)
  local model = training.model
  return first_bad_parameter(model) or first_bad_output(training, dropout) or first_bad_gradient(model)
end

-- ---- What is done about it ----------------------------------------------------------------------

local function describe(training, trouble, lr, place)
  return ('training: %s at step %d (lr %g, stage with %d of %d removed)%s'):format(
    trouble, training.state.step + 1, lr, training:removed(), training.data.max_cot,
    place and ', first in ' .. place or '')
end

local ways = {
  stop = function(training, message)
    local last = training.keeper and training.keeper:last_good()
    errors.raise('%s; lower optimizer.lr%s, or see divergence.policy', message,
                 last and (' and continue from the checkpoint of step %d with --resume --allow-changes'):format(last)
                   or '')
  end,

  rollback = function(training, message)
    error(setmetatable({ message = message, lr_scale = training.lr_scale }, Divergence), 0)
  end,

  continue = function(training, message)
    local skipped = training:skip_update()
    if bit.band(skipped, skipped - 1) == 0 then -- the 1st, 2nd, 4th, 8th … time
      training.progress:note(('%s; skipped (%d skipped so far)'):format(message, skipped))
    end
  end,
}

--- Deals with an update that must not be made. Gradients are as it left them.
---@param training icot.Training
---@param trouble string
---@param lr number
---@param dropout? { seed: integer, step: integer } that of the update
---raises an error, unless the update is to be left out
function divergence.handle(training, trouble, lr, dropout)
  local message = describe(training, trouble, lr, locate(training, dropout))
  training.optimizer:zero_grad()
  ways[training.config.divergence.policy](training, message)
end

return divergence
