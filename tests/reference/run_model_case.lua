--- luajit tests/reference/run_model_case.lua CASE OUT: computes with icot what model_case.py describes, from the
--- folder CASE to the folder OUT.
local Case = require 'tests.reference.model_case'
local json = require 'icot.base.json'
local safetensors = require 'icot.tensor.safetensors'

local folder, out = assert(arg[1]), assert(arg[2])

local function save(tensors, name)
  safetensors.save_file(tensors, ('%s/%s.safetensors'):format(out, name))
end

local function write(value, name)
  local file = assert(io.open(('%s/%s.json'):format(out, name), 'wb'))
  file:write(json.encode(value), '\n')
  file:close()
end

local case = Case.open(folder)
case:forward(function(found) save(found, 'forward') end)
case:dropout(function(found, masks)
  save(found, 'dropout')
  save(masks, 'masks')
end)
write(case:greedy(), 'greedy')

local course = { losses = {}, norms = {} }
case:updates(function(number, loss, norm, parameters)
  course.losses[number], course.norms[number] = loss, norm
  save(parameters, 'update_' .. number)
end)
write(course, 'updates')
case:free()
