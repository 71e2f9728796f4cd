--- What the fuzzing program runs first: loads a target, with coverage, and returns the function that takes an input.
local counters, capacity = ...
local ffi = require 'ffi'
local coverage = dofile 'tests/fuzz/coverage.lua'

coverage.install { 'lua/?.lua', 'lua/?/init.lua', '?.lua' }

local harness = require 'tests.fuzz.harness'
local take = harness.load(os.getenv 'ICOT_FUZZ_TARGET', os.getenv 'ICOT_FUZZ_FOLDER')
local published = ffi.cast('uint8_t *', counters)

coverage.clear() -- of what ran while everything was loaded
return function(bytes)
  take(bytes)
  coverage.publish(published, capacity)
end
