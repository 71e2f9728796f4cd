--- A training that takes a fraction of a second, and what its run file says.
local python = require 'tests.lua.support.python'
local recipes = require 'tests.lua.support.recipes'
local temporary = require 'tests.lua.support.temporary'
local trainer = require 'icot.training.trainer'

local small_training = {}

local text = [[
return {
  method = 'icot', seed = 3,
  dataset = { task = 'multiplication', digits = 2, train = 500, valid = 40, test = 30 },
  model = { layers = 1, heads = 2, width = 16%s },
  schedule = %s,
  removal = { positions = 'kept' },
  optimizer = { lr = 1e-3%s },
  train = { batch = 20, steps = 40, log_every = 10, evaluate_every = 15 },
  evaluate = { examples = 25, batch = 10, samples = 2 },%s
}]]

--- Two digits have a CoT of 3 + 1 + 4 = 8 tokens; update t (from 1) is made with floor((t - 13)/2) of them removed.
local linear = "{ kind = 'linear', steps_per_token = 2, explicit_steps = 12 }"

local function nothing() end

--- A display of progress that shows nothing.
small_training.silent = {
  expect = nothing, update = nothing, note = nothing, warn = nothing, finish = nothing,
}

---@class icot.SmallTraining
---@field model? string more fields of the model, after a comma; `optimizer` and `more` likewise
---@field optimizer? string
---@field schedule? string
---@field more? string more fields of the recipe
---@field settings? string[] as for --set
---@field progress? table
---@field folder? string where; default: a new one

--- The run, ready to start.
---@param changes? icot.SmallTraining
---@return icot.Run
function small_training.run(changes)
  changes = changes or {}
  local folder = changes.folder or temporary.folder()
  local source = text:format(changes.model or '', changes.schedule or linear, changes.optimizer or '',
                             changes.more or '')
  local path = temporary.write(folder .. '/small.lua', source)
  return recipes.load(path, changes.settings, { output = folder .. '/small.h5' }).runs[1]
end

--- Trains it.
---@param changes? icot.SmallTraining
---@param options? { resume?: boolean, allow_changes?: boolean, overwrite?: boolean }
---@return boolean ok
---@return any result of the trainer, or what it raised
---@return string path of the run file
function small_training.train(changes, options)
  local run = small_training.run(changes)
  local given = { progress = changes and changes.progress or small_training.silent }
  for name, value in pairs(options or {}) do given[name] = value end
  local ok, result = pcall(trainer.run, run, given)
  return ok, result, run.output
end

--- Trains it until its schedule raises `stopped`, as it has to where the global STOP is set, as here.
---@param changes icot.SmallTraining
function small_training.train_until_stopped(changes)
  rawset(_G, 'STOP', true)
  local ok, problem = small_training.train(changes)
  rawset(_G, 'STOP', nil)
  assert(not ok and problem.message:find('stopped', 1, true), 'the training was not stopped')
end

--- A run file as a notebook reads it: attributes, tables, texts.
---@param path string
function small_training.read(path)
  return python.json_of('tests/notebooks/dump_run.py', path)
end

--- The values of a column.
function small_training.column(file_table, name)
  for i, each in ipairs(file_table.columns) do
    if each == name then
      local values = {}
      for row, cells in ipairs(file_table.rows) do values[row] = cells[i] end
      return values
    end
  end
end

--- The tables of a run file that two runs with the same bits share: all but /segments, without the columns of time.
---@param path string
function small_training.rows(path)
  local tables = small_training.read(path).tables
  for _, name in ipairs { 'train', 'eval' } do
    local each = tables[name]
    for i, column in ipairs(each.columns) do
      if column == 'seconds' or column == 'examples_per_second' then
        for _, row in ipairs(each.rows) do row[i] = 0 end
      end
    end
  end
  tables.segments = nil
  return tables
end

--- The file with the weights that a run ended with.
---@param path string of the run file
---@return string bytes
function small_training.model_bytes(path)
  return temporary.contents((path:gsub('%.h5$', '/model.safetensors')))
end

return small_training
