--- What a schedule will do, without training: its stages, and s(t) drawn with characters.
---
--- A schedule that looks at accuracy or loss is told the ones that are assumed, at each validation.
local errors = require 'icot.base.errors'
local removal = require 'icot.text.removal'
local schedule = require 'icot.schedule'

local schedule_preview = {}

---@class icot.Stage
---@field removed integer s, at most m
---@field thoughts integer that each example has; or pauses, where these lead the CoT
---@field first integer updates done when it begins
---@field updates integer

---@class icot.PreviewOptions
---@field evaluate_every integer updates
---@field removal icot.Removal
---@field start? icot.ScheduleState where the training begins, if it is a fork
---@field accuracy number that every validation is assumed to give
---@field loss number likewise

-- A training goes back to the end of a stage that it has had; those before a fork are not known here.
local function require_stage(stages, removed, state, is_fork)
  for _, stage in ipairs(stages) do
    if stage.removed == removed then return end
  end
  if is_fork then return end
  errors.raise('schedule: at step %d it asks to go back to the end of the stage with %d removed, which there was not',
               state.step, removed)
end

-- Asks the schedule as a training does, with its validations: when they are due, and one before the first removal.
local function ask(fn, state, options, stages)
  if state.step > 0 and state.step % options.evaluate_every == 0 then schedule.note_validation(state, options) end
  local removed, goes_back = schedule.call(fn, state)
  if goes_back then require_stage(stages, removed, state, options.start ~= nil) end
  if removed > 0 and state.removed == 0 and state.step > 0 then schedule.note_validation(state, options) end
  state.removed = removed
end

-- Takes in that an update is made now.
local function add_update(stages, state, info, given)
  local removed, current = removal.of_longest(given, state.removed, info.max_cot), stages[#stages]
  if not current or current.removed ~= removed then
    local thoughts = removal.thoughts_when(given, state.removed, info)
    current = { removed = removed, thoughts = thoughts, first = state.step, updates = 0 }
    stages[#stages + 1] = current
  end
  current.updates = current.updates + 1
end

--- Asks a schedule before every update of a training.
---@param fn icot.Schedule
---@param info icot.ScheduleInfo
---@param options icot.PreviewOptions
---@return icot.Stage[]
---raises what `schedule.call` does, and an error where the schedule goes back to a stage that there was not
function schedule_preview.stages(fn, info, options)
  local state, stages = options.start or schedule.state_at_start(info), {}
  while state.step < info.total_steps do
    ask(fn, state, options, stages)
    add_update(stages, state, info, options.removal)
    state.loss, state.step = options.loss, state.step + 1
    state.epoch = state.step / info.steps_per_epoch
  end
  return stages
end

-- ---- The table ----------------------------------------------------------------------------------

---@class icot.StageGroup stages in a row that remove equally many tokens more, bring equally many thoughts more, and
---   last equally long
---@field stages icot.Stage[]
---@field more integer tokens more than the stage before
---@field more_thoughts integer likewise
---@field least integer updates of the shortest
---@field most integer updates of the longest; by rounding one more than the shortest, at most

-- A group of its own of a stage.
local function group_of(stage, before)
  return {
    stages = { stage }, more = stage.removed - before.removed, more_thoughts = stage.thoughts - before.thoughts,
    least = stage.updates, most = stage.updates,
  }
end

local function are_alike(group, other)
  return group.more == other.more and group.more_thoughts == other.more_thoughts
    and math.max(group.most, other.most) - math.min(group.least, other.least) <= 1
end

--- Puts stages together that are alike.
---@param stages icot.Stage[]
---@return icot.StageGroup[]
function schedule_preview.groups(stages)
  local groups, before = {}, { removed = 0, thoughts = 0 }
  for i, stage in ipairs(stages) do
    local own, group = group_of(stage, before), groups[#groups]
    if i > 2 and are_alike(group, own) then
      group.least, group.most = math.min(group.least, own.least), math.max(group.most, own.most)
      table.insert(group.stages, stage)
    else
      groups[#groups + 1] = own
    end
    before = stage
  end
  return groups
end

local function range(first, last)
  return first == last and tostring(first) or ('%d - %d'):format(first, last)
end

--- The stages as lines of a table; with a column of thoughts, if any comes in.
---@param stages icot.Stage[]
---@return string[]
function schedule_preview.table_of(stages)
  local has_thoughts = stages[#stages].thoughts > 0
  local function line(count, removed, thoughts, first, updates)
    local middle = has_thoughts and ('%-12s '):format(thoughts) or ''
    return ('%-10s %-12s %s%-12s %s'):format(count, removed, middle, first, updates)
  end
  local lines = { line('stages', 'removed', 'thoughts', 'from update', 'updates each') }
  for _, group in ipairs(schedule_preview.groups(stages)) do
    local list = group.stages
    local first, last = list[1], list[#list]
    lines[#lines + 1] = line(#list, range(first.removed, last.removed), range(first.thoughts, last.thoughts),
                             first.first + 1, range(group.least, group.most))
  end
  return lines
end

-- ---- The drawing --------------------------------------------------------------------------------

-- The tokens removed in the middle of each of `columns` equal parts of the training; false: before a fork has begun.
local function sample(stages, total_steps, columns)
  local heights, i = {}, 1
  for column = 1, columns do
    local step = math.floor((column - 0.5) * total_steps / columns)
    while stages[i + 1] and stages[i + 1].first <= step do i = i + 1 end
    heights[column] = step >= stages[1].first and stages[i].removed
  end
  return heights
end

--- Draws s(t): updates to the right, removed tokens upwards.
---@param stages icot.Stage[]
---@param info icot.ScheduleInfo
---@param columns integer of the curve
---@param rows integer
---@return string[] lines
function schedule_preview.draw(stages, info, columns, rows)
  if info.max_cot < 1 then errors.raise('schedule: the examples have no CoT, so nothing is removed') end
  local heights, lines = sample(stages, info.total_steps, columns), {}
  local width = #tostring(info.max_cot)
  for row = rows, 0, -1 do
    local label = row == rows and info.max_cot or row == 0 and 0 or ''
    local cells = {}
    for column, removed in ipairs(heights) do
      cells[column] = removed and math.floor(removed * rows / info.max_cot + 0.5) == row and '*' or ' '
    end
    local curve = table.concat(cells):gsub('%s+$', '')
    lines[#lines + 1] = (('%%%ds |%%s'):format(width)):format(label, curve)
  end
  lines[#lines + 1] = (' '):rep(width + 1) .. '+' .. ('-'):rep(columns)
  local last = ('%d updates'):format(info.total_steps)
  lines[#lines + 1] = (' '):rep(width + 2) .. '1' .. (' '):rep(columns - 1 - #last) .. last
  return lines
end

return schedule_preview
