--- Files for what `icot frontier` finds: a table with a row per stage.
local format = require 'icot.results.table_formats'
local table_file = require 'icot.results.table_file'

local frontier_file = {}

---@class icot.FrontierFile: icot.TableFile
local FrontierFile = table_file.class()

--- Creates a file with an empty table /frontier.
---@param options icot.TableFileOptions
---@return icot.FrontierFile
---raises an error when the file exists (and force is not set), is in use, or cannot be written
function frontier_file.create(options)
  return table_file.create(FrontierFile, 'frontier', options, function(self)
    self:add_table('frontier', format.frontier)
  end)
end

--- Adds a row to /frontier.
---@param row icot.FrontierPoint
function FrontierFile:point(row)
  self:append('frontier', row)
end

return frontier_file
