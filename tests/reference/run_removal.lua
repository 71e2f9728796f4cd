--- luajit tests/reference/run_removal.lua OUT ARMS [SETTING...]: runs arms of running_maxima.lua, "all" or one by name,
--- with settings as after --set. Of each arm, OUT/ARM gets config.json, draws.json, course.json, and the trained model
--- as the folder run.
local course = require 'tests.reference.course'
local json = require 'icot.base.json'
local files = require 'icot.base.files'
local recipes = require 'tests.lua.support.recipes'

local out, arms = assert(arg[1]), assert(arg[2])

local function write(path, value)
  local file = assert(io.open(path, 'wb'))
  file:write(json.encode(value), '\n')
  file:close()
end

local function run_arm(run)
  local folder = out .. '/' .. run.arm
  files.make_folder(folder)
  run.output, run.model_output = folder .. '/run.h5', folder .. '/run'
  local losses, result = course.run(run)
  write(folder .. '/config.json', run.config)
  write(folder .. '/draws.json', course.draws(run.config))
  write(folder .. '/course.json', { losses = losses, accuracy = result.accuracy })
end

for _, run in ipairs(recipes.load('tests/reference/running_maxima.lua', { select(3, unpack(arg)) }).runs) do
  if arms == 'all' or arms == run.arm then run_arm(run) end
end
