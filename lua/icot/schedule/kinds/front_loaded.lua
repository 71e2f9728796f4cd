--- Fast at first: s = m·(1 - (1 - t)^power), t from 0 to 1 over the duration.
local curve = require 'icot.schedule.kinds.curve'

return curve(function(time, options) return 1 - (1 - time) ^ options.power end, {
  power = { type = 'number', min = 1, max = 100, default = 2, doc = 'exponent of the curve; 1 is a straight line' },
})
