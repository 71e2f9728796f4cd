--- Removal schedules: functions of the training state that say how many CoT tokens are removed now.
---
--- A schedule of one's own is such a function, put into a recipe as it is:
---
---     schedule = function(state) return math.max(0, state.step - 1000) / 80 end
---
--- It is called before every update. A number above what the longest CoT has, such as math.huge, removes everything;
--- fractions are rounded down. It must not fall, unless it says 'rollback' as a second value: then the training goes
--- back to the parameters that it had at the end of the stage with as many tokens removed as the first value says.
local errors = require 'icot.base.errors'
local methods = require 'icot.schedule.methods'
local schedule_view = require 'icot.schedule.view'
local values = require 'icot.base.values'

local schedule = {}

---@class icot.ScheduleState
---@field step integer updates done so far
---@field epoch number step / steps_per_epoch
---@field steps_per_epoch integer T
---@field total_steps integer updates of the whole training
---@field max_cot integer m: most CoT tokens of an example
---@field removed integer what the schedule said last, at most max_cot; 0 at first
---@field accuracy number? of the last evaluation of the validation examples; nil before the first
---@field valid_loss number? of the same
---@field evaluated_step integer? when that was
---@field loss number? training loss of the last update
---@field own table the schedule's own: what it keeps there is there at the next call, and after a resumption

---@alias icot.Schedule fun(state: icot.ScheduleState): number, 'rollback'?

---@class icot.ScheduleInfo what is known before training starts
---@field steps_per_epoch integer
---@field total_steps integer
---@field max_cot integer

---@class icot.ScheduleKind a file of lua/icot/schedule/kinds/
---@field options icot.Fields what a recipe may set beside `kind`
---@field looks_at_validations? boolean what it says depends on accuracy or loss
---@field goes_back? fun(options: table): boolean whether it may ask for the end of an earlier stage
---@field check? fun(options: table): string? what is wrong with options that are each right by themselves
---@field build fun(options: table, info: icot.ScheduleInfo): icot.Schedule

--- The kinds that a recipe can name, and the file of each.
---@type table<string, icot.ScheduleKind>
schedule.kinds = {}
for _, name in ipairs {
  'linear', 'front_loaded', 'back_loaded', 'cosine', 'geometric', 'slow_last', 'points', 'gated',
} do
  schedule.kinds[name] = require('icot.schedule.kinds.' .. name)
end

--- The schedule of a run: a kind, the user's function, or what the method fixes.
---@param config table the resolved configuration: `method` and `schedule`
---@param info icot.ScheduleInfo
---@return icot.Schedule
function schedule.of(config, info)
  local removed = methods.fixed_removal(config.method)
  if removed then return function() return removed end end
  if type(config.schedule) == 'function' then return config.schedule end
  return schedule.kinds[config.schedule.kind].build(config.schedule, info)
end

--- The state before the first update.
---@param info icot.ScheduleInfo
---@return icot.ScheduleState
function schedule.state_at_start(info)
  return {
    step = 0, epoch = 0, removed = 0, own = {}, total_steps = info.total_steps,
    steps_per_epoch = info.steps_per_epoch, max_cot = info.max_cot,
  }
end

--- Takes in a validation that was made now.
---@param state icot.ScheduleState
---@param result { accuracy: number, loss: number } a loss that is NaN or infinite says nothing
function schedule.note_validation(state, result)
  local is_number = result.loss == result.loss and math.abs(result.loss) ~= math.huge
  state.accuracy, state.evaluated_step = result.accuracy, state.step
  state.valid_loss = is_number and result.loss or nil -- JSON has no NaN
end

local function check_number(removed, step)
  if type(removed) ~= 'number' then
    errors.raise('schedule: at step %d it returned %s, expected a number of tokens', step,
                 removed == nil and 'nil' or 'a ' .. type(removed))
  end
  if removed ~= removed then errors.raise('schedule: at step %d it returned NaN, expected a number', step) end
  if removed < 0 then errors.raise('schedule: at step %d it returned %g, expected 0 or more', step, removed) end
end

-- A schedule falls if and only if it goes back.
local function check_direction(removed, wish, state)
  local falls = removed < state.removed
  if wish ~= nil and wish ~= 'rollback' then
    errors.raise("schedule: at step %d its second value is %s, expected 'rollback' or none", state.step,
                 values.show(wish))
  elseif falls and not wish then
    errors.raise_as('schedule_falls', 'schedule: at step %d it returned %g after %g; it must not fall', state.step,
                    removed, state.removed)
  elseif wish and not falls then
    errors.raise("schedule: at step %d it returned %g and 'rollback' after %g; it can only go back to fewer",
                 state.step, removed, state.removed)
  end
end

--- Calls a schedule and checks what it says: a number, not negative, not less than before unless it goes back.
---@param fn icot.Schedule
---@param state icot.ScheduleState
---@return integer removed rounded down, at most max_cot
---@return boolean goes_back to the end of the stage with that many removed
function schedule.call(fn, state)
  local seen = schedule_view.of(state)
  local ok, removed, wish = pcall(fn, seen)
  if not ok then
    if errors.is_user_error(removed) then error(removed, 0) end
    local message = errors.of_user_code(removed)
    errors.raise('schedule: at step %d the function raised an error: %s%s', state.step, message,
                 schedule_view.hint(message, state))
  end
  schedule_view.check_own(seen.own, state.step)
  state.own = seen.own -- filled, or another table
  check_number(removed, state.step)
  removed = math.min(math.floor(removed), state.max_cot)
  check_direction(removed, wish, state)
  return removed, wish ~= nil
end

return schedule
