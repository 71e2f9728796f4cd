--- luajit tests/reference/run_removal.lua OUT ARMS [SETTING...]: runs arms of running_maxima.lua, "all" or one by name,
--- with settings as after --set. Of each arm, OUT/ARM gets config.json, draws.json, course.json, and as folders the
--- model before (initial) and after (run).
local course = require 'tests.reference.course'
local dataset = require 'icot.dataset'
local gpt2 = require 'icot.gpt2'
local json = require 'icot.json'
local model_file = require 'icot.model_file'
local overrides = require 'icot.overrides'
local recipe = require 'icot.recipe'

local out, arms = assert(arg[1]), assert(arg[2])

local function write(path, value)
  local file = assert(io.open(path, 'wb'))
  file:write(json.encode(value), '\n')
  file:close()
end

-- The model that the trainer begins with: its parameters follow from the seed.
local function save_initial(run, folder)
  local data, config = dataset.load(run.config.dataset), run.config.model
  config.vocab_size = data.vocabulary.size
  local model = gpt2.new(config, run.config.seed)
  model_file.save(folder, model, data.vocabulary)
  model:free()
  data:free()
end

local function run_arm(run)
  local folder = out .. '/' .. run.arm
  run.output, run.model_output = folder .. '/run.h5', folder .. '/run'
  save_initial(run, folder .. '/initial')
  local losses, result = course.run(run)
  write(folder .. '/config.json', run.config)
  write(folder .. '/draws.json', course.draws(run.config))
  write(folder .. '/course.json', { losses = losses, accuracy = result.accuracy })
end

local settings = {}
for i = 3, #arg do settings[i - 2] = overrides.parse(arg[i]) end
for _, run in ipairs(recipe.load('tests/reference/running_maxima.lua', { settings = settings }).runs) do
  if arms == 'all' or arms == run.arm then run_arm(run) end
end
