--- Files for what `icot probe` finds: a table with a row per linear probe; and, of examples, attention maps.
local format = require 'icot.results.table_formats'
local table_file = require 'icot.results.table_file'

local probe_file = {}

---@class icot.ProbeFile: icot.TableFile
local ProbeFile = table_file.class()

---@class icot.ProbeFileOptions: icot.TableFileOptions
---@field longest integer tokens of the longest sequence whose attention is kept; 0: none is

--- Creates a file with an empty table /probes, and an empty matrix /attention with the table /attention_rows.
---@param options icot.ProbeFileOptions
---@return icot.ProbeFile
---raises an error when the file exists (and force is not set), is in use, or cannot be written
function probe_file.create(options)
  return table_file.create(ProbeFile, 'probes', options, function(self)
    self:add_table('probes', format.probes)
    self:add_table('attention_rows', format.attention_rows)
    self:add_matrix('attention', math.max(1, options.longest))
  end)
end

---@class icot.ProbeRow the columns of icot.results.table_formats's `probes`, by name

--- Adds a row to /probes.
---@param row icot.ProbeRow all of them
function ProbeFile:probe(row)
  self:append('probes', row)
end

--- Adds the attention maps of an example to /attention, a row per query, and their counterparts to /attention_rows.
---@param where { step: integer, removed: integer, example: integer }
---@param tokens string[] (T) its sequence
---@param maps icot.probe.AttentionMap[]
function ProbeFile:attention(where, tokens, maps)
  for _, map in ipairs(maps) do
    for query, token in ipairs(tokens) do
      self:append('attention_rows', {
        step = where.step, removed = where.removed, example = where.example, layer = map.layer, head = map.head,
        query = query - 1, token = token,
      })
      local row = map.weights + (query - 1) * #tokens
      self:append_numbers('attention', #tokens, function(key) return row[key - 1] end)
    end
  end
end

return probe_file
