--- Slow at first and at the end: s = m·(1 - cos(π·t))/2, t from 0 to 1 over the duration.
local curve = require 'icot.schedule.kinds.curve'

return curve(function(time) return (1 - math.cos(math.pi * time)) / 2 end, {})
