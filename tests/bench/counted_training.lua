--- A fixed small training for tests/bench/count, which counts its instructions: a few updates on one thread, no files.
---
---     luajit tests/bench/counted_training.lua UPDATES
local core = require 'icot.engine.core'
local recipe = require 'icot.recipe'
local training = require 'icot.training'

local updates = assert(tonumber(arg[1]), 'usage: counted_training.lua UPDATES')

core.check(core.C.icot_set_threads(1))
local self = training.new(recipe.load('tests/bench/counted_recipe.lua').runs[1])
for step = 0, updates - 1 do self:update(4 * step) end -- from all 24 tokens of CoT to none
local versions = core.versions()
io.stdout:write(('kernels %s; %s'):format(versions.cpu_kernels, versions.openblas), '\n')
self:free()
