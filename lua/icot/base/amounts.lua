--- Amounts as people read them.
local amounts = {}

--- A number of seconds for people: 42s, 3m05s, 2h07m, 3d04h.
---@param seconds number
---@return string
function amounts.duration(seconds)
  local whole = math.floor(seconds + 0.5)
  if whole < 60 then return ('%ds'):format(whole) end
  if whole < 3600 then return ('%dm%02ds'):format(whole / 60, whole % 60) end
  if whole < 86400 then return ('%dh%02dm'):format(whole / 3600, whole % 3600 / 60) end
  return ('%dd%02dh'):format(whole / 86400, whole % 86400 / 3600)
end

--- A count for people: 950, 12.3k, 4.56M, 7.89G; 15.8, if it is a mean.
---@param count number
---@return string
function amounts.count(count)
  local divisor, unit = 1, ''
  for _, step in ipairs { { 1e3, 'k' }, { 1e6, 'M' }, { 1e9, 'G' }, { 1e12, 'T' }, { 1e15, 'P' }, { 1e18, 'E' } } do
    if count >= step[1] * 0.9995 then divisor, unit = step[1], step[2] end
  end
  if divisor == 1 then return (count % 1 == 0 and '%d' or '%.3g'):format(count) end
  local scaled = count / divisor
  return ('%.' .. (scaled < 9.995 and 2 or scaled < 99.95 and 1 or 0) .. 'f%s'):format(scaled, unit)
end

return amounts
