--- Drawn by hand: between two points { update, removed } as many tokens are removed as lie on the line, before the
--- first point none, after the last as many as there.
local timing = require 'icot.schedule.kinds.timing'

local points = {}

local amount = { type = 'integer', min = 0, max = timing.most }

points.options = {
  points = {
    type = 'list', each = { type = 'list', each = amount }, required = true,
    doc = 'list of { update, removed }, with ascending updates and removed tokens that never fall',
  },
}

--- What is wrong with the points beside the type of each.
---@param options table
---@return string? problem
function points.check(options)
  local list = options.points
  if #list == 0 then return 'points: got none, expected at least one { update, removed }' end
  for i, point in ipairs(list) do
    local before = list[i - 1]
    if #point ~= 2 then return ('points[%d]: got %d numbers, expected { update, removed }'):format(i, #point) end
    if before and point[1] <= before[1] then
      return ('points[%d]: update %d comes after update %d, expected them in order'):format(i, point[1], before[1])
    end
    if before and point[2] < before[2] then
      return ('points[%d]: got %d removed after %d; it must not fall'):format(i, point[2], before[2])
    end
  end
end

--- The schedule: removed tokens on the lines between the points, rounded down.
---@param options table checked values of `points.options`
---@return icot.Schedule
function points.build(options)
  local list = options.points
  return function(state)
    if state.step < list[1][1] then return 0 end
    for i = 2, #list do
      local from, to = list[i - 1], list[i]
      if state.step < to[1] then
        local way = (state.step - from[1]) / (to[1] - from[1])
        return timing.floor(from[2] + way * (to[2] - from[2]))
      end
    end
    return list[#list][2]
  end
end

return points
