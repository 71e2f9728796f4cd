--- Schedules that take a given time and differ in the curve: `share` maps the part of the time that has passed to the
--- part of the CoT that is removed, both from 0 to 1.
local timing = require 'icot.schedule.kinds.timing'

--- Makes a kind of schedule of a curve.
---@param share fun(time: number, options: table): number
---@param fields icot.Fields of the curve itself
---@return icot.ScheduleKind
return function(share, fields)
  return {
    options = timing.with_duration(fields),
    build = function(options, info)
      local passed, duration = timing.since_start(options, info), timing.duration(options, info)
      return function(state)
        local time = math.min(1, math.max(0, passed(state) / duration))
        return timing.floor(info.max_cot * share(time, options))
      end
    end,
  }
end
