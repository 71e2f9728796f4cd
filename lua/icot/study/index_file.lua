--- The index of a study: links to its run files, a table with a row per run, and one with a row per arm.
local format = require 'icot.results.table_formats'
local table_file = require 'icot.results.table_file'

local index_file = {}

---@class icot.StudyIndex: icot.TableFile
local StudyIndex = table_file.class()

-- The path of `file` as seen from the folder of `index`, so that both can be moved together.
local function relative_to(index, file)
  local folder = index:match('^(.*/)[^/]*$') or ''
  return file:sub(1, #folder) == folder and file:sub(#folder + 1) or file
end

---@class icot.StudyIndexOptions: icot.TableFileOptions
---@field runs { arm: string, seed: integer, path: string }[] all runs of the study; their files need not be there yet

--- Creates an index: links /runs/<arm>-<seed>, and empty tables /summary and /arms.
---@param options icot.StudyIndexOptions
---@return icot.StudyIndex
---raises an error when the file exists (and force is not set), is in use, or cannot be written
function index_file.create(options)
  return table_file.create(StudyIndex, 'study', options, function(self)
    for _, run in ipairs(options.runs) do
      self:add_link(('runs/%s-%d'):format(run.arm, run.seed), relative_to(options.path, run.path))
    end
    self:add_table('summary', format.summary)
    self:add_table('arms', format.arms)
  end)
end

--- Adds the row of a run that has ended to /summary, and flushes.
---@param row table<string, number|string> all columns of `summary`, by name
function StudyIndex:summary(row)
  self:append('summary', row)
  self:flush()
end

--- Adds the row of an arm, all of whose runs are over, to /arms.
---@param row icot.ArmSummary
function StudyIndex:arm(row)
  self:append('arms', row)
end

return index_file
