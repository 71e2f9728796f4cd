--- luajit tests/reference/run_round_trip.lua FROM TO: reads the model in the folder FROM and saves it in TO.
local gpt2 = require 'icot.gpt2'
local model_file = require 'icot.model.model_file'
local vocabulary = require 'icot.text.vocabulary'

local model = gpt2.from_pretrained(assert(arg[1]))
model_file.save(assert(arg[2]), model, vocabulary.new('word', {}))
model:free()
