--- Removal schedules: functions of the training state that say how many CoT tokens are removed now.
---
--- A schedule of one's own is such a function, put into a recipe as it is:
---
---     schedule = function(state) return math.max(0, state.step - 1000) / 80 end
---
--- It is called before every update. It must not fall; math.huge removes everything; fractions are rounded down.
local errors = require 'icot.errors'

local schedule = {}

---@class icot.ScheduleState
---@field step integer updates done so far
---@field epoch number step / steps_per_epoch
---@field steps_per_epoch integer T
---@field total_steps integer updates of the whole training
---@field max_cot integer m: most CoT tokens of an example
---@field removed number what the schedule said last; 0 at first
---@field accuracy number? of the last evaluation; nil before the first
---@field loss number? training loss of the last update
---@field own table the schedule's own: what it keeps there is there at the next call, and after a resumption

---@alias icot.Schedule fun(state: icot.ScheduleState): number

---@class icot.ScheduleInfo what is known before training starts
---@field steps_per_epoch integer
---@field total_steps integer
---@field max_cot integer

local MOST = 2 ^ 31 - 1
local explicit = {
  explicit_steps = { type = 'integer', min = 0, max = MOST, doc = 'updates with all CoT before removal begins' },
  explicit_epochs = { type = 'number', min = 0, max = MOST, doc = 'the same in epochs' },
}

local function with_explicit(fields)
  for name, field in pairs(explicit) do fields[name] = field end
  return fields
end

--- Updates since removal began; negative before.
local function since_start(options, info)
  local start = options.explicit_steps or (options.explicit_epochs or 0) * info.steps_per_epoch
  return function(state) return state.step - start end
end

--- Schedules that take a given time and differ in the curve: `share` maps the part of the time that has passed to
--- the part of the CoT that is removed, both from 0 to 1.
local function curve(share)
  return {
    options = with_explicit {
      duration_steps = { type = 'integer', min = 1, max = MOST, doc = 'updates from the first removal to the last' },
      duration_epochs = { type = 'number', above = 0, max = MOST, doc = 'the same in epochs' },
      power = { type = 'number', min = 1, max = 100, default = 2, doc = '1 is linear; more bends the curve more' },
    },
    build = function(options, info)
      local passed = since_start(options, info)
      local duration = options.duration_steps or options.duration_epochs * info.steps_per_epoch
      return function(state)
        local time = math.min(1, math.max(0, passed(state) / duration))
        return math.floor(info.max_cot * share(time, options.power) + 1e-9)
      end
    end,
  }
end

--- The kinds that a recipe can name. `options` describes their fields; `build(options, info)` makes the function.
---@type table<string, { options: icot.Fields, build: fun(options: table, info: icot.ScheduleInfo): icot.Schedule }>
schedule.kinds = {
  --- s(t) = floor(Δ·t/T), Δ tokens per epoch of T updates; or one token every `steps_per_token` updates.
  linear = {
    options = with_explicit {
      tokens_per_epoch = { type = 'number', above = 0, max = MOST, doc = 'Δ' },
      steps_per_token = { type = 'number', above = 0, max = MOST, doc = 'updates from one removal to the next' },
    },
    build = function(options, info)
      local passed = since_start(options, info)
      local rate = options.tokens_per_epoch and options.tokens_per_epoch / info.steps_per_epoch
        or 1 / options.steps_per_token
      return function(state) return math.max(0, math.floor(rate * passed(state) + 1e-9)) end
    end,
  },
  --- Fast at first: s = m·(1 - (1 - t)^power).
  front_loaded = curve(function(time, power) return 1 - (1 - time) ^ power end),
  --- Slow at first: s = m·t^power.
  back_loaded = curve(function(time, power) return time ^ power end),
}

--- The schedule of a run: a kind, the user's function, or what the method fixes.
---@param config table the resolved configuration: `method` and `schedule`
---@param info icot.ScheduleInfo
---@return icot.Schedule
function schedule.of(config, info)
  if config.method == 'no_cot' then return function() return math.huge end end
  if config.method == 'explicit_cot' then return function() return 0 end end
  if type(config.schedule) == 'function' then return config.schedule end
  return schedule.kinds[config.schedule.kind].build(config.schedule, info)
end

--- What a schedule sees: a copy, so that it can change nothing.
local function view_of(state)
  local view = {}
  for name, value in pairs(state) do view[name] = value end
  return view
end

--- Calls a schedule and checks what it says: a number, not negative, not less than before.
---@param fn icot.Schedule
---@param state icot.ScheduleState
---@return number removed rounded down; math.huge means all
function schedule.call(fn, state)
  local ok, removed = pcall(fn, view_of(state))
  if not ok then
    if errors.is_user_error(removed) then error(removed, 0) end
    errors.raise('schedule: at step %d the function raised: %s', state.step, (tostring(removed):gsub('\n', ' ')))
  end
  if type(removed) ~= 'number' then
    errors.raise('schedule: at step %d it returned %s, expected a number of tokens', state.step,
                 removed == nil and 'nil' or 'a ' .. type(removed))
  end
  if removed ~= removed then errors.raise('schedule: at step %d it returned NaN, expected a number', state.step) end
  if removed < 0 then errors.raise('schedule: at step %d it returned %g, expected 0 or more', state.step, removed) end
  if removed < state.removed then
    errors.raise('schedule: at step %d it returned %g after %g; it must not fall', state.step, removed, state.removed)
  end
  return math.floor(removed)
end

return schedule
