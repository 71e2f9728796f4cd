--- Statistics of a few measurements: mean, spread, and how sure the mean is.
local statistics = {}

local BISECTIONS = 60 -- an angle to within the last bits of a double

--- The mean.
---@param values number[]
---@return number mean NaN: there are no values
function statistics.mean(values)
  local sum = 0
  for _, value in ipairs(values) do sum = sum + value end
  return sum / #values
end

--- The standard deviation of what the values are a sample of.
---@param values number[]
---@return number NaN: there are fewer than two
function statistics.deviation(values)
  local mean, squares = statistics.mean(values), 0
  if #values < 2 then return 0 / 0 end
  for _, value in ipairs(values) do squares = squares + (value - mean) ^ 2 end
  return math.sqrt(squares / (#values - 1))
end

-- The probability that |t| stays below √freedom · tan(angle), for whole degrees of freedom: Abramowitz and Stegun,
-- Handbook of Mathematical Functions, 26.7.3 (odd) and 26.7.4 (even).
local function probability_within(angle, freedom)
  local sine, cosine, odd = math.sin(angle), math.cos(angle), freedom % 2 == 1
  local term, sum = odd and cosine or 1, 0
  for power = odd and 1 or 0, freedom - 2, 2 do -- of the cosine in this term
    sum = sum + term
    term = term * cosine ^ 2 * (power + 1) / (power + 2)
  end
  return odd and 2 / math.pi * (angle + sine * sum) or sine * sum
end

--- How many standard errors to either side of a mean the truth lies within: the quantile of Student's t.
---@param freedom integer degrees of freedom, the number of measurements less one
---@param confidence number 0.95: nineteen times in twenty
---@return number
function statistics.student(freedom, confidence)
  local low, high = 0, math.pi / 2
  for _ = 1, BISECTIONS do
    local middle = (low + high) / 2
    if probability_within(middle, freedom) < confidence then low = middle else high = middle end
  end
  return math.sqrt(freedom) * math.tan((low + high) / 2)
end

--- The interval that holds the mean of all such measurements with the given confidence: mean ± t·s/√n, with Student's
--- t of n - 1 degrees of freedom. It takes the measurements for normally distributed.
---@param values number[]
---@param confidence number
---@return number low, number high NaN: there are fewer than two values
function statistics.interval(values, confidence)
  if #values < 2 then return 0 / 0, 0 / 0 end
  local mean = statistics.mean(values)
  local reach = statistics.student(#values - 1, confidence) * statistics.deviation(values) / math.sqrt(#values)
  return mean - reach, mean + reach
end

return statistics
