--- Shows how a run is going: one line that is rewritten in place on a terminal, plain lines elsewhere.
local amounts = require 'icot.base.amounts'
local errors = require 'icot.base.errors'
local terminal = require 'icot.base.terminal'

---@class icot.Progress
local Progress = {}
Progress.__index = Progress

local progress = {}
local REDRAW = 0.2                       -- least seconds between two drawings of the line on a terminal
local FIRST_GAP, LARGEST_GAP = 5, 300    -- seconds between two plain lines; the gap grows with the run
local GAP_SHARE = 1 / 20                 -- of the time that has gone by

local function seconds_now()
  return require('icot.engine.core').C.icot_seconds()
end

---@class icot.ProgressOptions
---@field total_steps integer updates that the run will take at most
---@field label string what is running: 'icot seed 1'
---@field stream? file* default: io.stderr
---@field quiet? boolean shows nothing at all
---@field columns? fun(stream: any): integer? for tests; default: terminal.columns
---@field clock? fun(): number seconds, for tests

--- Starts to show a run.
---@param options icot.ProgressOptions
---@return icot.Progress
function progress.new(options)
  local stream = options.stream or io.stderr
  local clock = options.clock or seconds_now
  return setmetatable({
    total_steps = options.total_steps, label = options.label, stream = stream, quiet = options.quiet,
    columns = options.columns or terminal.columns, color = terminal.has_color(stream),
    clock = clock, started = clock(), state = {}, drawn = false,
  }, Progress)
end

-- Time left, from the pace so far; nil as long as there is none.
local function time_left(self)
  local done = self.state.step - self.first_step
  if done < 1 or self.state.step >= self.total_steps then return nil end
  return (self.clock() - self.started) / done * (self.total_steps - self.state.step)
end

-- The parts of the line in their order, each with its rank: on a narrow terminal the highest ranks go first.
local function parts(self)
  local state, list = self.state, {}
  local function add(rank, format, value)
    if value then list[#list + 1] = { rank = rank, text = format:format(value) } end
  end
  add(1, '%s', self.label)
  add(2, 'step %d/' .. self.total_steps, state.step)
  add(4, 'removed %d', state.removed)
  add(6, 'loss %.4f', state.loss)
  add(3, 'accuracy %.3f', state.accuracy)
  add(7, '%s tokens/s', state.tokens_per_second and amounts.count(state.tokens_per_second))
  local left = time_left(self)
  add(5, '%s left', left and amounts.duration(left))
  return list
end

local function join(list, highest_rank)
  local texts = {}
  for _, part in ipairs(list) do
    if part.rank <= highest_rank then texts[#texts + 1] = part.text end
  end
  return table.concat(texts, '  ')
end

-- The line, of at most `columns` characters.
local function line(self, columns)
  local all = parts(self)
  for rank = 7, 1, -1 do
    local text = join(all, rank)
    if not columns or #text <= columns then return text end
  end
  return self.label:sub(1, columns)
end

-- In one piece: the notice of a signal, or another process with the same stream, never falls into a line.
local function write(self, ...)
  self.stream:write(table.concat { ... })
  self.stream:flush()
end

local function draw(self, columns)
  local text = line(self, columns - 1) -- the last column would wrap on some terminals
  if self.color and text:sub(1, #self.label) == self.label then
    text = terminal.bold(self.label, true) .. text:sub(#self.label + 1)
  end
  write(self, '\r', text, '\27[K')
  self.drawn = true
end

local function is_due(self, on_terminal)
  local now = self.clock()
  if on_terminal then return not self.last_shown or now - self.last_shown >= REDRAW end
  local gap = math.min(math.max((now - self.started) * GAP_SHARE, FIRST_GAP), LARGEST_GAP)
  return now - (self.last_shown or self.started) >= gap
end

local function show(self)
  local columns = self.columns(self.stream)
  self.last_shown = self.clock()
  if columns then return draw(self, columns) end
  write(self, line(self), '\n')
end

--- Takes in how many updates the run is expected to take at most.
---@param total_steps integer
function Progress:expect(total_steps)
  self.total_steps = total_steps
end

--- Takes in where the run is; what is not given stays as it was.
---@param state { step: integer, removed?: integer, loss?: number, accuracy?: number, tokens_per_second?: number }
function Progress:update(state)
  for name, value in pairs(state) do self.state[name] = value end
  self.first_step = self.first_step or self.state.step
  self.is_open = true
  if not self.quiet and is_due(self, self.columns(self.stream) ~= nil) then show(self) end
end

-- Writes a line that stays, above the one that is rewritten.
local function write_line(self, text)
  write(self, self.drawn and '\r\27[K' or '', self.label, '  ', errors.one_line(text), '\n')
  if self.drawn then show(self) end
end

--- Tells what has happened, such as the result of an evaluation.
---@param text string
---@param state? { accuracy?: number } what the line shows from now on
function Progress:note(text, state)
  for name, value in pairs(state or {}) do self.state[name] = value end
  if not self.quiet then write_line(self, text) end
end

--- Tells, with --quiet as well, that something that the user wanted is not done.
---@param text string
function Progress:warn(text)
  write_line(self, text)
end

--- Ends the display; the last state stays to be read. May be called again.
function Progress:finish()
  if self.quiet or not self.is_open then return end
  self.is_open = false
  show(self)
  if self.drawn then write(self, '\n') end
  self.drawn = false
end

return progress
