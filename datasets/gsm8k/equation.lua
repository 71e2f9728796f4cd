--- Checks the calculations of a GSM8K CoT: `<<16-3-4=9>> <<9*2=18>>`.
local equation = {}

-- Results are rounded to what the writer thought fit: 1/3 = .33, 2/3 = 0.67.
local ABSOLUTE, RELATIVE = 0.011, 0.011

-- The value of an expression of numbers and + - * / ( ), or nil. `--` would begin a comment in Lua.
local function value_of(expression)
  if not expression:find('^[%d%.%+%-%*/%(%)]+$') then return nil end
  local calculation = loadstring('return ' .. expression:gsub('%-%-', '- -'):gsub('%+%+', '+'))
  local ok, value = pcall(calculation or error)
  local is_finite = ok and type(value) == 'number' and math.abs(value) < math.huge -- NaN isn't either
  return is_finite and value or nil
end

local function problem_of(word)
  local expression, result = word:match('^<<(.*)=([^=]*)>>$')
  if not expression then return ("'%s' is not <<calculation=result>>"):format(word) end
  local expected, given = value_of((expression:gsub('^%+', ''))), tonumber(result)
  if not expected then return ("'%s' cannot be calculated"):format(expression) end
  if not given then return ("'%s' is not a number"):format(result) end
  if math.abs(expected - given) > math.max(ABSOLUTE, RELATIVE * math.abs(expected)) then
    return ('%s is %.10g, not %s'):format(expression, expected, result)
  end
end

--- What is wrong with an example; the answer must be a number, and each calculation right up to rounding.
---@param _ string the question
---@param cot string
---@param answer string
---@return string? problem nil: nothing
function equation.check(_, cot, answer)
  for word in cot:gmatch('%S+') do
    local problem = problem_of(word)
    if problem then return 'CoT: ' .. problem end
  end
  if not tonumber((answer:gsub(',', ''))) then return ("the answer '%s' is not a number"):format(answer) end
end

return equation
