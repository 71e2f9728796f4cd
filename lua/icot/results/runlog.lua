--- Run files: everything that happens in a run, written to HDF5 while it happens.
---
---     local log = runlog.create { path = 'results/mult.h5', recipe = 'mult', seed = 1, source = text, config = json,
---                                 answer_length = 8 }
---     log:train { step = 100, epoch = 0.1, … }
---     log:eval({ step = 100, split = 'valid', … }, { 1, 0.98, … })
---     log:flush() -- from now on readers see the rows
---     log:close('finished')
local core = require 'icot.engine.core'
local format = require 'icot.results.table_formats'
local machine = require 'icot.engine.machine'
local table_file = require 'icot.results.table_file'

local runlog = {}

---@class icot.RunLog: icot.TableFile
local RunLog = table_file.class()

---@class icot.RunLogOptions: icot.TableFileOptions `from`: a snapshot, or a file that a run left
---@field seed integer
---@field answer_length integer tokens of the longest answer
---@field text_width? integer bytes kept of each text in /samples, 256 by default
---@field segment? table more columns of the row that is added to /segments: step, and how the one before ended

-- A run that is never interrupted is one segment; each resumption begins another.
local function begin_segment(self, segment)
  self:append('segments', {
    step = segment.step or 0, start_time = machine.time(), host = machine.host_name(), threads = core.C.icot_threads(),
    stopped_by = segment.stopped_by or '', stopped_time = segment.stopped_time or '', changes = segment.changes or '',
  })
end

--- Creates a run file.
---@param options icot.RunLogOptions
---@return icot.RunLog
---raises an error when the file exists (and force is not set), is in use, or cannot be written
function runlog.create(options)
  return table_file.create(RunLog, 'run', options, function(self)
    self:set('seed', options.seed)
    self:add_table('train', format.train)
    self:add_table('eval', format.eval)
    self:add_matrix('eval_positions', math.max(1, options.answer_length))
    self:add_table('eval_groups', format.eval_groups)
    self:add_table('samples', format.samples(options.text_width or 256))
    self:add_table('events', format.events)
    self:add_table('segments', format.segments)
    begin_segment(self, options.segment or {})
  end)
end

--- Adds a row to /train.
---@param row table<string, number|boolean> all columns of icot.results.table_formats's `train`, by name
function RunLog:train(row)
  self:append('train', row)
end

--- Adds a row to /eval, and its counterpart to /eval_positions.
---@param row table<string, number|string> all columns of `eval`, by name
---@param positions number[] accuracy of the first, second, … token of the answer, over the answers that have one
function RunLog:eval(row, positions)
  local matrix = self.tables.eval_positions
  if #positions > matrix.width then
    error(('run log: got accuracies of %d answer positions, expected at most %d'):format(#positions, matrix.width), 2)
  end
  self:append('eval', row)
  self:append_numbers('eval_positions', #positions, function(i) return positions[i] end)
end

--- Adds a row to /eval_groups.
---@param row { step: integer, split: string, group: string, examples: integer, accuracy: number }
function RunLog:eval_group(row)
  self:append('eval_groups', row)
end

--- Adds a row to /samples.
---@param row { step: integer, split: string, question: string, target: string, prediction: string, cot: string }
function RunLog:sample(row)
  self:append('samples', row)
end

--- Adds a row to /events.
---@param row { step: integer, event: string, removed: integer, detail: string }
function RunLog:event(row)
  self:append('events', row)
end

return runlog
