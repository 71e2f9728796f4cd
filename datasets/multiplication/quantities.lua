--- What a probe may look for in a multiplication: the digits of everything that is worked out on the way.
local add_digits = require('datasets.arithmetic.quantities').add_digits

local quantities = {}

--- The digits of partial product 1, 2, …, of running sum k, which is that of the first k partial products, and of the
--- product. Running sum 1 is partial product 1, the last one is the product; the CoT has neither.
---@param cot string
---@param answer string
---@return icot.Quantity[]
function quantities.of(_, cot, answer)
  local found, summand = {}, 0
  for mark, number in cot:gmatch('([+(]?)([%d ]+)') do
    if mark == '(' then
      add_digits(found, ('running sum %d'):format(summand), number)
    elseif number:find('%d') then
      summand = summand + 1
      add_digits(found, ('partial product %d'):format(summand), number)
    end
  end
  add_digits(found, 'product', answer)
  return found
end

return quantities
