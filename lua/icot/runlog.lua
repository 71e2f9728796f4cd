--- Run files: everything that happens in a run, written to HDF5 while it happens.
---
---     local log = runlog.create { path = 'results/mult.h5', recipe = 'mult', seed = 1, source = text, config = json,
---                                 answer_length = 8 }
---     log:train { step = 100, epoch = 0.1, … }
---     log:eval({ step = 100, split = 'valid', … }, { 1, 0.98, … })
---     log:flush() -- from now on readers see the rows, whatever happens to this program
---     log:close('finished')
---
--- A file gets its name when it is complete enough to be read; one that is there is replaced only then. The index of a
--- study (`runlog.index`) is written in the same way. icot.runlog_format says what the tables hold.
local ffi = require 'ffi'
local cleanup = require 'icot.cleanup'
local core = require 'icot.core'
local files = require 'icot.files'
local format = require 'icot.runlog_format'
local names = require 'icot.names'

local C, check = core.C, core.check
local runlog = {}

---@class icot.RunLog
---@field path string
---@field private handle ffi.cdata* icot_runlog*, nil once closed
---@field private tables table<string, table>
local RunLog = {}
RunLog.__index = RunLog

local kinds = {
  integer = C.ICOT_COLUMN_INT64, number = C.ICOT_COLUMN_FLOAT64,
  text = C.ICOT_COLUMN_TEXT, flag = C.ICOT_COLUMN_BOOL,
}

-- ---- Tables -------------------------------------------------------------------------------------

local number_out = ffi.new('int[1]')

local function add_table(self, name, columns)
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

local function add_matrix(self, name, width)
  check(C.icot_runlog_matrix(self.handle, name, width, number_out))
  self.tables[name] = { name = name, number = number_out[0], width = width, numbers = ffi.new('double[?]', width) }
end

local lua_types = { integer = 'number', number = 'number', text = 'string', flag = 'boolean' }

-- A row that doesn't fit its table is a bug of the caller, not of the user: hence `error`.
local function check_row(layout, row)
  for _, column in ipairs(layout.columns) do
    local name, expected = column[1], lua_types[column[2]]
    if type(row[name]) ~= expected then
      error(('run log: /%s: column %s: got %s, expected a %s'):format(layout.name, name, type(row[name]), expected), 4)
    end
  end
  for name in pairs(row) do
    if not layout.known[name] then
      error(('run log: /%s has no column %s'):format(layout.name, tostring(name)), 4)
    end
  end
end

-- To be called by methods directly, so that the level of check_row's errors is their caller's.
local function append(self, name, row)
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

-- A row of a matrix, NaN where `count` numbers are fewer than its width.
local function append_numbers(self, name, count, number_at)
  local matrix = self.tables[name]
  for i = 1, matrix.width do matrix.numbers[i - 1] = i <= count and number_at(i) or 0 / 0 end
  check(C.icot_runlog_append(self:open_handle(), matrix.number, matrix.numbers, nil))
end

-- ---- Making a file ------------------------------------------------------------------------------

--- The name of this machine.
---@return string
function runlog.host_name()
  local file = io.open('/proc/sys/kernel/hostname')
  local name = file and file:read('*l')
  if file then file:close() end
  return name or os.getenv('HOSTNAME') or 'unknown'
end

--- What the bits of a run hang on beside its recipe.
---@return { host: string, device: string, threads: integer, versions: table<string, string> }
function runlog.machine()
  local device = core.device()
  return { host = runlog.host_name(), device = device, threads = C.icot_threads(), versions = core.versions() }
end

--- A time as it stands in run files: 2026-01-31T23:59:59Z.
---@param seconds? integer since 1970; default: now
---@return string
function runlog.time(seconds)
  return os.date('!%Y-%m-%dT%H:%M:%SZ', seconds)
end

local function set_attribute(self, name, value)
  if type(value) == 'string' then
    check(C.icot_runlog_set_text(self.handle, name, value))
  elseif type(value) ~= 'number' then
    error(('run log: attribute %s: got %s, expected a string or a number'):format(name, type(value)))
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
    threads = C.icot_threads(), host = runlog.host_name(),
    start_time = not options.from and runlog.time() or nil,
  }
  for name, version in pairs(core.versions()) do attributes[name .. '_version'] = version end
  for name, value in pairs(options.attributes or {}) do attributes[name] = value end
  for _, name in ipairs(names.of(attributes)) do set_attribute(self, name, attributes[name]) end
end

local handle_out = ffi.new('icot_runlog *[1]')

-- Of what may find a file at the path of this one.
local function check_free(code)
  check(code, files.EXISTS, files.EXISTS_ADVICE)
end

-- Gives a log that was forgotten, or that an error left behind, an end of its own.
local function give_up(handle)
  C.icot_runlog_close(handle, nil)
end

-- Opens a file, lets `fill` add what it holds, and shows it to readers; if anything fails, nothing is left of it.
local function create(kind, options, fill)
  if options.from then
    check(C.icot_runlog_continue(options.path, options.from, handle_out))
  else
    check_free(C.icot_runlog_create(options.path, options.force and 1 or 0, handle_out))
  end
  local self = setmetatable({ path = options.path, tables = {} }, RunLog)
  self.handle = ffi.gc(handle_out[0], give_up)
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

---@class icot.RunLogOptions
---@field path string folders on the way are made
---@field force? boolean replace a file that is there
---@field from? string go on with the rows of this run file (a snapshot, or one that a run left); implies `force`
---@field segment? table more columns of the row that is added to /segments: step, and how the one before ended
---@field recipe string name of the recipe
---@field seed integer
---@field source? string the recipe's text
---@field config? string the resolved configuration as JSON
---@field answer_length integer tokens of the longest answer
---@field text_width? integer bytes kept of each text in /samples, 256 by default
---@field attributes? table<string, string|number> more attributes of /: precision, device, …

-- A run that is never interrupted is one segment; each resumption begins another.
local function begin_segment(self, segment)
  append(self, 'segments', {
    step = segment.step or 0, start_time = runlog.time(), host = runlog.host_name(), threads = C.icot_threads(),
    stopped_by = segment.stopped_by or '', stopped_time = segment.stopped_time or '', changes = segment.changes or '',
  })
end

--- Creates a run file. Its end_state is 'running' until it is closed.
---@param options icot.RunLogOptions
---@return icot.RunLog
---raises an error when the file exists (and force is not set), is in use, or cannot be written
function runlog.create(options)
  return create('run', options, function(self)
    set_attribute(self, 'seed', options.seed)
    add_table(self, 'train', format.train)
    add_table(self, 'eval', format.eval)
    add_matrix(self, 'eval_positions', math.max(1, options.answer_length))
    add_table(self, 'eval_groups', format.eval_groups)
    add_table(self, 'samples', format.samples(options.text_width or 256))
    add_table(self, 'events', format.events)
    add_table(self, 'segments', format.segments)
    begin_segment(self, options.segment or {})
  end)
end

-- ---- Writing to it ------------------------------------------------------------------------------

---@private
function RunLog:open_handle()
  return self.handle or error(('run log %s is closed'):format(self.path), 3)
end

--- Adds a row to /train.
---@param row table<string, number|boolean> all columns of icot.runlog_format's `train`, by name
function RunLog:train(row)
  append(self, 'train', row)
end

--- Adds a row to /eval, and its counterpart to /eval_positions.
---@param row table<string, number|string> all columns of `eval`, by name
---@param positions number[] accuracy of the first, second, … token of the answer, over the answers that have one
function RunLog:eval(row, positions)
  local matrix = self.tables.eval_positions
  if #positions > matrix.width then
    error(('run log: got accuracies of %d answer positions, expected at most %d'):format(#positions, matrix.width), 2)
  end
  append(self, 'eval', row)
  append_numbers(self, 'eval_positions', #positions, function(i) return positions[i] end)
end

--- Adds a row to /eval_groups.
---@param row { step: integer, split: string, group: string, examples: integer, accuracy: number }
function RunLog:eval_group(row)
  append(self, 'eval_groups', row)
end

--- Adds a row to /samples.
---@param row { step: integer, split: string, question: string, target: string, prediction: string }
function RunLog:sample(row)
  append(self, 'samples', row)
end

--- Adds a row to /events.
---@param row { step: integer, event: string, removed: integer, detail: string }
function RunLog:event(row)
  append(self, 'events', row)
end

--- Sets an attribute of /; it is written when the file is closed.
---@param name string
---@param value string|number
function RunLog:set(name, value)
  self:open_handle()
  set_attribute(self, name, value)
end

--- Brings all rows so far to the disk, where readers see them.
---raises an error when that fails (a full disk): the file then stays as the last flush left it
function RunLog:flush()
  check(C.icot_runlog_flush(self:open_handle()))
end

--- Flushes, and copies the file as it is then, for `from` of a later run file; one that is closed can be copied, too.
---@param path string
---raises an error when the copy cannot be written
function RunLog:snapshot(path)
  check(self.handle and C.icot_runlog_snapshot(self.handle, path) or C.icot_file_copy(self.path, path))
end

--- Writes how the run ended, and closes the file. Closing it a second time does nothing.
---@param end_state 'finished'|'interrupted'|'failed'|string
---raises an error when that fails; the file is closed nevertheless
function RunLog:close(end_state)
  local handle = self.handle
  if not handle then return end
  self.handle = nil
  check_free(C.icot_runlog_close(ffi.gc(handle, nil), end_state))
end

-- ---- The index of a study -----------------------------------------------------------------------

--- The path of `file` as seen from the folder of `index`, so that both can be moved together.
local function relative_to(index, file)
  local folder = index:match('^(.*/)[^/]*$') or ''
  return file:sub(1, #folder) == folder and file:sub(#folder + 1) or file
end

---@class icot.StudyIndexOptions
---@field path string
---@field force? boolean
---@field recipe string
---@field source? string
---@field config? string
---@field runs { arm: string, seed: integer, path: string }[] all runs of the study; their files need not be there yet
---@field attributes? table<string, string|number>

--- Creates the index of a study: links /runs/<arm>-<seed> to its run files, and empty tables /summary and /arms.
---@param options icot.StudyIndexOptions
---@return icot.RunLog
function runlog.index(options)
  return create('study', options, function(self)
    for _, run in ipairs(options.runs) do
      local name = ('runs/%s-%d'):format(run.arm, run.seed)
      check(C.icot_runlog_link(self.handle, name, relative_to(options.path, run.path), '/'))
    end
    add_table(self, 'summary', format.summary)
    add_table(self, 'arms', format.arms)
  end)
end

--- Adds the row of a run that has ended to the /summary of an index, and flushes.
---@param row table<string, number|string> all columns of `summary`, by name
function RunLog:summary(row)
  append(self, 'summary', row)
  self:flush()
end

--- Adds the row of an arm, all of whose runs are over, to the /arms of an index.
---@param row icot.ArmSummary
function RunLog:arm(row)
  append(self, 'arms', row)
end

-- ---- The frontier of a run ----------------------------------------------------------------------

--- Creates a file with an empty table /frontier.
---@param options { path: string, force?: boolean, recipe: string, source?: string, config?: string,
---   attributes?: table<string, string|number> }
---@return icot.RunLog
function runlog.frontier(options)
  return create('frontier', options, function(self) add_table(self, 'frontier', format.frontier) end)
end

--- Adds a row to /frontier.
---@param row icot.FrontierPoint
function RunLog:frontier_point(row)
  append(self, 'frontier', row)
end

-- ---- The probes of a run ------------------------------------------------------------------------

--- Creates a file with an empty table /probes; and, for the attention maps of examples, an empty matrix /attention with
--- the table /attention_rows.
---@param options { path: string, force?: boolean, recipe: string, source?: string, config?: string,
---   attributes?: table<string, string|number>, longest: integer } longest: tokens of the longest sequence whose
---   attention is kept; 0: none is
---@return icot.RunLog
function runlog.probes(options)
  return create('probes', options, function(self)
    add_table(self, 'probes', format.probes)
    add_table(self, 'attention_rows', format.attention_rows)
    add_matrix(self, 'attention', math.max(1, options.longest))
  end)
end

--- Adds a row to /probes.
---@param row icot.ProbeRow all columns of icot.runlog_format's `probes`, by name
function RunLog:probe(row)
  append(self, 'probes', row)
end

--- Adds the attention maps of an example to /attention, a row per query, and their counterparts to /attention_rows.
---@param where { step: integer, removed: integer, example: integer }
---@param tokens string[] (T) its sequence
---@param maps icot.probe.AttentionMap[]
function RunLog:attention(where, tokens, maps)
  for _, map in ipairs(maps) do
    for query, token in ipairs(tokens) do
      append(self, 'attention_rows', {
        step = where.step, removed = where.removed, example = where.example, layer = map.layer, head = map.head,
        query = query - 1, token = token,
      })
      local row = map.weights + (query - 1) * #tokens
      append_numbers(self, 'attention', #tokens, function(key) return row[key - 1] end)
    end
  end
end

return runlog
