--- A training by icot's own trainer, with what has to be known to repeat it elsewhere: the examples and offsets that
--- each step drew.
local core = require 'icot.engine.core'
local ffi = require 'ffi'
local random = require 'icot.engine.random'
local sampler = require 'icot.text.sampler'
local tasks = require 'icot.data.tasks'
local trainer = require 'icot.training.trainer'

local course = {}

-- Offsets of n examples as core/text/removal.c draws them: P(o) = (1 - exp(-λ)) exp(-λ·o).
local function offsets(config, step, n)
  local uniform, drawn = ffi.new('double[?]', n), {}
  core.C.icot_random_uniform(random.key(config.seed, 'offset', step), n, uniform)
  for k = 1, n do drawn[k] = math.floor(-math.log(1 - uniform[k - 1]) / config.removal.smoothing) end
  return drawn
end

--- What the steps of a run draw: the shared list.
---@param config table of a run
---@return { ids: integer[][], offsets: integer[][] } per step and example
function course.draws(config)
  local data = tasks.load(config.dataset, 'train')
  local examples, drawn = sampler.new(data.train:size(), config.train.batch, config.seed), { ids = {}, offsets = {} }
  data:free()
  for step = 0, config.train.steps - 1 do
    local ids, n = examples:at(step)
    drawn.ids[step + 1] = {}
    for k = 1, n do drawn.ids[step + 1][k] = tonumber(ids[k - 1]) end
    drawn.offsets[step + 1] = offsets(config, step, n)
  end
  return drawn
end

--- Trains, looking on from where the progress bar does.
---@param run icot.Run
---@return number[] losses of all steps
---@return icot.RunResult
function course.run(run)
  local losses = {}
  local result = trainer.run(run, {
    overwrite = true,
    progress = {
      update = function(_, now) losses[now.step] = now.loss end,
      expect = function() end, note = function() end, warn = function() end,
      finish = function() end,
    },
  })
  return losses, result
end

return course
