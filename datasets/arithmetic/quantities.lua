--- Numbers within an example, digit by digit: what tasks tell a probe that it may look for (icot.Task: quantities).
local quantities = {}

--- Adds each digit of a number, as it is written.
---@param found icot.Quantity[]
---@param name string of the number: 'partial product 2'
---@param text string its digits, least first, perhaps with other words between them: '1 7 4 +'
function quantities.add_digits(found, name, text)
  local place = 0
  for digit in text:gmatch('%d') do
    place = place + 1
    found[#found + 1] = { name = ('%s, digit %d'):format(name, place), value = digit }
  end
end

return quantities
