--- Carry chains: how far a carry travels when two numbers are added digit by digit.
---
--- A place whose two digits sum to ten or more starts a chain of length 1; each place after it whose digits sum to nine
--- passes the carry on, and makes the chain longer by one. The digit behind a chain depends on those where it began,
--- and among random digits each length is about ten times as rare as the one before.
local carries = {}

--- The longest carry chain of a + b.
---@param a integer[]|ffi.cdata* digits, least first
---@param b integer[]|ffi.cdata* the same
---@param first integer index of the least place to look at
---@param last integer index of the highest
---@return integer length 0: nothing is carried
function carries.longest(a, b, first, last)
  local longest, running = 0, 0
  for place = first, last do
    local sum = a[place] + b[place]
    if sum >= 10 then
      running = 1
    elseif sum == 9 and running > 0 then
      running = running + 1
    else
      running = 0
    end
    if running > longest then longest = running end
  end
  return longest
end

return carries
