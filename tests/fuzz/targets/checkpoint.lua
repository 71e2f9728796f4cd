--- A checkpoint, as a run that is resumed reads it: checkpoint.json and the moments, beside a recipe that is as it was.
--- (Its weights are read by the target `pretrained`.)
local checkpoint = require 'icot.saved.checkpoint'
local files = require 'icot.base.files'
local gpt2 = require 'icot.gpt2'
local harness = require 'tests.fuzz.harness'
local meter = require 'icot.training.meter'
local optim = require 'icot.training.optim'
local parts = require 'tests.fuzz.parts'
local resume = require 'icot.saved.resume'
local run_paths = require 'icot.results.run_paths'
local saved_recipe = require 'icot.saved.saved_recipe'
local saved_run = require 'icot.saved.saved_run'
local saved_state = require 'icot.training.saved_state'

local NAMES = { 'checkpoint.json', 'moments.safetensors' }
local RECIPE = [[
  return {
    method = 'icot', dataset = { task = 'text', train = 'train.txt' }, model = { layers = 1, heads = 1, width = 1 },
    schedule = { kind = 'linear', tokens_per_epoch = 8 }, train = { epochs = 2 },
  }
]]

local function note(text)
  assert(type(text) == 'string')
end

local function tiny_model()
  return gpt2.new({ vocab_size = 2, layers = 1, heads = 1, width = 1, context = 1 }, 1)
end

-- What icot.training does with the state of a checkpoint, and what it computes with it first.
local function restore(saved)
  local training = { state = { steps_per_epoch = 10 }, optimizer = {}, meter = meter.new() }
  saved_state.restore(training, saved)
  training.meter:start()
  training.meter:totals()
  training.meter:interval()
  local again = saved_state.capture(training)
  assert(again.step == saved.step and again.removed == saved.removed and again.planned == saved.planned)
  assert(training.state.removed >= 0)
end

return function(folder)
  local run_path = folder .. '/run.h5'
  local place = checkpoint.path(run_paths.checkpoint_folder(run_path), 3)
  files.make_folder(place)
  parts.write(place .. '/recipe.lua', RECIPE)
  local model = tiny_model()
  local optimizer = optim.AdamW(model:parameters(), {})

  return function(bytes)
    parts.put(place, parts.split(bytes), NAMES)
    if not saved_run.newest(run_path, harness.check_message) then return end
    local run = saved_recipe.of(run_path, {}).runs[1]
    local found = resume.find(run, { allow_changes = true }, note)
    assert(type(found.segment.changes) == 'string')
    resume.compare_machine(found.from, note)
    restore(found.from.description.state)
    checkpoint.read_moments(optimizer, found.from, model)
    resume.check(run, {})
  end
end
