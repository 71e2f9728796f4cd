--- HDF5 files of tables that are written row by row, and can be read meanwhile: run files (icot.results.runlog), the
--- index of a study (icot.study.index_file), and what commands find out (icot.frontier.file, icot.probe.file).
---
---     local File = table_file.class()
---     function File:note(row) self:append('notes', row) end
---     local made = table_file.create(File, 'notes', options, function(self) self:add_table('notes', columns) end)
---
--- A file gets its name when it is complete enough to be read; one that is there is replaced only then.
--- icot.results.table_formats says what the tables hold.
local ffi = require 'ffi'
local cleanup = require 'icot.base.cleanup'
local core = require 'icot.engine.core'
local files = require 'icot.base.files'
local format = require 'icot.results.table_formats'
local machine = require 'icot.engine.machine'
local names = require 'icot.base.names'

local C, check = core.C, core.check
local table_file = {}

---@class icot.TableFile
---@field path string
---@field private handle ffi.cdata* icot_runlog*, nil once closed
---@field private tables table<string, table>
local TableFile = {}

--- A class of files, for methods of its own beside those below.
---@return table class
function table_file.class()
  local class = setmetatable({}, { __index = TableFile })
  class.__index = class
  return class
end

local kinds = {
  integer = C.ICOT_COLUMN_INT64, number = C.ICOT_COLUMN_FLOAT64,
  text = C.ICOT_COLUMN_TEXT, flag = C.ICOT_COLUMN_BOOL,
}

-- ---- Making a file ------------------------------------------------------------------------------

local function set_attribute(self, name, value)
  if type(value) == 'string' then
    check(C.icot_runlog_set_text(self.handle, name, value))
  elseif type(value) ~= 'number' then
    error(('attribute %s: got %s, expected a string or a number'):format(name, type(value)))
  elseif value % 1 == 0 and math.abs(value) < 2 ^ 53 then
    check(C.icot_runlog_set_integer(self.handle, name, value))
  else
    check(C.icot_runlog_set_number(self.handle, name, value))
  end
end

-- Of a file that is continued, start_time stays that of its beginning.
local function set_attributes(self, kind, options)
  local attributes = {
    format_version = format.version, kind = kind, recipe = options.recipe,
    threads = C.icot_threads(), host = machine.host_name(),
    start_time = not options.from and machine.time() or nil,
  }
  for name, version in pairs(core.versions()) do attributes[name .. '_version'] = version end
  for name, value in pairs(options.attributes or {}) do attributes[name] = value end
  for _, name in ipairs(names.sorted(attributes)) do set_attribute(self, name, attributes[name]) end
end

-- Of what may find a file at the path of this one.
local function check_free(code)
  check(code, 'exists', files.EXISTS_ADVICE)
end

-- Gives a file that was forgotten, or that an error left behind, an end of its own.
local function give_up(handle)
  C.icot_runlog_close(handle, nil)
end

local handle_out = ffi.new('icot_runlog *[1]')

local function open(options)
  if options.from then
    check(C.icot_runlog_continue(options.path, options.from, handle_out))
  else
    check_free(C.icot_runlog_create(options.path, options.force and 1 or 0, handle_out))
  end
  return ffi.gc(handle_out[0], give_up)
end

---@class icot.TableFileOptions
---@field path string folders on the way are made
---@field force? boolean replace a file that is there
---@field from? string go on with the rows of this file; implies `force`
---@field recipe string name of the recipe
---@field source? string the recipe's text
---@field config? string the resolved configuration as JSON
---@field attributes? table<string, string|number> more attributes of /

--- Opens a file, lets `fill` add what it holds, and shows it to readers; if anything fails, nothing is left of it. Its
--- end_state is 'running' until it is closed.
---@generic T: icot.TableFile
---@param class T from `table_file.class`
---@param kind string an attribute
---@param options icot.TableFileOptions
---@param fill fun(self: T)
---@return T
---raises an error when the file exists (and force is not set), is in use, or cannot be written
function table_file.create(class, kind, options, fill)
  local self = setmetatable({ path = options.path, tables = {}, handle = open(options) }, class)
  local function undo() give_up(ffi.gc(self.handle, nil)) end
  cleanup.on_error(undo, function()
    set_attributes(self, kind, options)
    check(C.icot_runlog_put_text(self.handle, 'recipe/source', options.source or ''))
    check(C.icot_runlog_put_text(self.handle, 'recipe/config', options.config or '{}'))
    fill(self)
    check_free(C.icot_runlog_live(self.handle))
  end)
  return self
end

-- ---- What it holds ------------------------------------------------------------------------------

local number_out = ffi.new('int[1]')

--- Adds a table without rows. This, `add_matrix` and `add_link` are for `fill`.
---@param name string
---@param columns table as in icot.results.table_formats
function TableFile:add_table(name, columns)
  local n = #columns
  local described, known = ffi.new('icot_column[?]', n), {}
  for i, column in ipairs(columns) do
    described[i - 1] = { name = column[1], kind = kinds[column[2]], width = column[3] or 0 }
    known[column[1]] = true
  end
  check(C.icot_runlog_table(self.handle, name, described, n, number_out))
  self.tables[name] = {
    name = name, number = number_out[0], columns = columns, known = known,
    numbers = ffi.new('double[?]', n), texts = ffi.new('const char *[?]', n),
  }
end

--- Adds a matrix without rows.
---@param name string
---@param width integer numbers in a row
function TableFile:add_matrix(name, width)
  check(C.icot_runlog_matrix(self.handle, name, width, number_out))
  self.tables[name] = { name = name, number = number_out[0], width = width, numbers = ffi.new('double[?]', width) }
end

--- Adds a link to another file.
---@param name string of the link
---@param path string of the file, as seen from the folder of this one; it need not be there yet
function TableFile:add_link(name, path)
  check(C.icot_runlog_link(self.handle, name, path, '/'))
end

-- ---- Writing to it ------------------------------------------------------------------------------

local lua_types = { integer = 'number', number = 'number', text = 'string', flag = 'boolean' }

-- A row that doesn't fit its table is a bug of the caller, not of the user: hence `error`.
local function check_row(layout, row)
  for _, column in ipairs(layout.columns) do
    local name, expected = column[1], lua_types[column[2]]
    if type(row[name]) ~= expected then
      error(('/%s: column %s: got %s, expected a %s'):format(layout.name, name, type(row[name]), expected), 4)
    end
  end
  for name in pairs(row) do
    if not layout.known[name] then
      error(('/%s has no column %s'):format(layout.name, tostring(name)), 4)
    end
  end
end

---@private
function TableFile:open_handle()
  return self.handle or error(('%s is closed'):format(self.path), 3)
end

--- Adds a row to a table. To be called by the methods of a class directly: errors name the place that called those.
---@param name string
---@param row table<string, number|string|boolean> all columns by name
function TableFile:append(name, row)
  local layout = self.tables[name]
  check_row(layout, row)
  for i, column in ipairs(layout.columns) do
    local value = row[column[1]]
    if column[2] == 'text' then
      layout.texts[i - 1] = value
    else
      layout.numbers[i - 1] = value == true and 1 or value or 0
    end
  end
  check(C.icot_runlog_append(self:open_handle(), layout.number, layout.numbers, layout.texts))
end

--- Adds a row to a matrix, NaN where `count` numbers are fewer than its width.
---@param name string
---@param count integer
---@param number_at fun(i: integer): number from 1 on
function TableFile:append_numbers(name, count, number_at)
  local matrix = self.tables[name]
  for i = 1, matrix.width do matrix.numbers[i - 1] = i <= count and number_at(i) or 0 / 0 end
  check(C.icot_runlog_append(self:open_handle(), matrix.number, matrix.numbers, nil))
end

--- Sets an attribute of /; it is written when the file is closed.
---@param name string
---@param value string|number
function TableFile:set(name, value)
  self:open_handle()
  set_attribute(self, name, value)
end

--- Brings all rows so far to the disk, where readers see them, whatever happens to this program.
---raises an error when that fails (a full disk): the file then stays as the last flush left it
function TableFile:flush()
  check(C.icot_runlog_flush(self:open_handle()))
end

--- Flushes, and copies the file as it is then, for `from` of a later one; one that is closed can be copied, too.
---@param path string
---raises an error when the copy cannot be written
function TableFile:snapshot(path)
  check(self.handle and C.icot_runlog_snapshot(self.handle, path) or C.icot_file_copy(self.path, path))
end

--- Writes how the work ended, and closes the file. Closing it a second time does nothing.
---@param end_state 'finished'|'interrupted'|'failed'|string
---raises an error when that fails; the file is closed nevertheless
function TableFile:close(end_state)
  local handle = self.handle
  if not handle then return end
  self.handle = nil
  check_free(C.icot_runlog_close(ffi.gc(handle, nil), end_state))
end

return table_file
