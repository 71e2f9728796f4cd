--- A file of probes with made-up numbers, as of a run with one layer that is probed at two stages.
local ffi = require 'ffi'
local probe_file = require 'icot.probe.file'

local sample_probes = {}

local PLACES = {
  [0] = { 'question 1', 'question <eos>', 'CoT 1', 'CoT 2', 'CoT <eos>', '####', 'answer 1', 'answer <eos>' },
  [2] = { 'question 1', 'question <eos>', 'CoT <eos>', '####', 'answer 1', 'answer <eos>' },
}
local QUANTITIES = { 'sum 1, digit 1', 'sum 1, digit 2', 'product, digit 1' }

local accuracies = {
  none = function(layer, position) return layer == 0 and 0.2 or 0.3 + 0.08 * position end,
  untrained = function(layer, position) return 0.2 + 0.02 * layer * position end,
  no_cot = function(_, position) return 0.25 + 0.01 * position end,
  shuffled = function() return 0.1 end,
}

local function add(log, written, control, stage)
  for layer = 0, 1 do
    for i, place in ipairs(PLACES[stage.removed]) do
      for _, quantity in ipairs(QUANTITIES) do
        local row = {
          step = stage.step, removed = stage.removed, control = control, layer = layer, position = i - 1,
          place = place, quantity = quantity, accuracy = accuracies[control](layer, i - 1), baseline = 0.15,
          examples = 100, examples_fit = 200,
        }
        log:probe(row)
        written.rows[#written.rows + 1] = row
      end
    end
  end
end

-- Each query looks at all keys up to it alike.
local function add_attention(log, stage, heads)
  local tokens, maps = {}, {}
  for i = 1, #PLACES[stage.removed] do tokens[i] = i == 1 and '7' or '<eos>' end
  local length = #tokens
  for head = 1, heads do
    local weights = ffi.new('float[?]', length * length)
    for query = 0, length - 1 do
      for key = 0, query do weights[query * length + key] = 1 / (query + 1) end
    end
    maps[head] = { layer = 1, head = head, length = length, weights = weights }
  end
  log:attention({ step = stage.step, removed = stage.removed, example = 4 }, tokens, maps)
end

--- Writes a file of probes.
---@param path string
---@param options? { no_cot?: boolean, attention?: boolean, stages?: integer } at most that many stages
---@return { rows: icot.ProbeRow[] } written
function sample_probes.write(path, options)
  options = options or {}
  local written = { rows = {} }
  local log = probe_file.create {
    path = path, recipe = 'sample', longest = options.attention and 8 or 0,
    attributes = { run = 'sample.h5', seed = 1 },
  }
  for i, stage in ipairs { { step = 100, removed = 0 }, { step = 300, removed = 2 } } do
    if i > (options.stages or 2) then break end
    if options.attention then add_attention(log, stage, 2) end
    for _, control in ipairs { 'none', 'shuffled', 'untrained' } do add(log, written, control, stage) end
  end
  if options.no_cot then add(log, written, 'no_cot', { step = 500, removed = 2 }) end
  log:close('finished')
  return written
end

return sample_probes
