--- What is measured: trainings of the bench's recipe, and the batches of their first steps.
local batch = require 'icot.text.batch'
local recipes = require 'tests.lua.support.recipes'
local removal = require 'icot.text.removal'
local training = require 'icot.training'

local work = {}

local BATCHES = 4 -- of which an epoch consists

--- The training of tests/bench/recipe.lua.
---@param digits integer
---@param size integer examples in a batch
---@param ... string more settings as after --set, such as 'model.layers=2'
---@return icot.Training
function work.training(digits, size, ...)
  local settings = { 'dataset.digits=' .. digits, 'train.batch=' .. size, 'dataset.train=' .. BATCHES * size, ... }
  return training.new(recipes.load('tests/bench/recipe.lua', settings).runs[1])
end

--- Calls a function with the batch that a step trains on when so many tokens are removed.
---@generic T
---@param self icot.Training
---@param step integer
---@param removed integer
---@param body fun(packed: icot.Batch): T
---@return T
function work.with_batch(self, step, removed, body)
  local config = self.config
  return batch.with(function(packed)
    local ids, n = self.sampler:at(step)
    local draw = { seed = config.seed, step = step }
    packed:pack(self.data.train, ids, n, removal.cut(config.removal, self.data, removed, draw))
    return body(packed)
  end)
end

return work
