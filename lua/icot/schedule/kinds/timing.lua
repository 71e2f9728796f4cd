--- When removal begins and how long it takes: fields that several kinds of schedule have.
local timing = {}

--- Largest number that a field of a schedule takes.
timing.most = 2 ^ 31 - 1

local explicit = {
  explicit_steps = {
    type = 'integer', min = 0, max = timing.most,
    doc = 'number of updates with all CoT before removal begins',
  },
  explicit_epochs = { type = 'number', min = 0, max = timing.most, doc = 'epochs with all CoT before removal begins' },
}

local duration = {
  duration_steps = { type = 'integer', min = 1, max = timing.most, doc = 'number of updates that removal takes' },
  duration_epochs = { type = 'number', above = 0, max = timing.most, doc = 'number of epochs that removal takes' },
}

local function with(more, fields)
  for name, field in pairs(more) do fields[name] = field end
  return fields
end

--- The fields of a kind, and those of an explicit phase before it.
---@param fields icot.Fields
---@return icot.Fields
function timing.with_explicit(fields) return with(explicit, fields) end

--- The same for a kind that takes a given time.
---@param fields icot.Fields
---@return icot.Fields
function timing.with_duration(fields) return with(duration, with(explicit, fields)) end

--- Updates since removal began; negative before.
---@param options table
---@param info icot.ScheduleInfo
---@return fun(state: icot.ScheduleState): number
function timing.since_start(options, info)
  local start = options.explicit_steps or (options.explicit_epochs or 0) * info.steps_per_epoch
  return function(state) return state.step - start end
end

--- Updates that removal takes.
---@param options table
---@param info icot.ScheduleInfo
---@return number
function timing.duration(options, info)
  return options.duration_steps or options.duration_epochs * info.steps_per_epoch
end

--- Rounds down, but for the last bit that a product of fractions may lack.
---@param number number
---@return integer
function timing.floor(number) return math.floor(number + 1e-9) end

return timing
