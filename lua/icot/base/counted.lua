--- Numbers with the nouns that they count, in messages: '1 token', '3 tokens', '2 of 10 tokens'.
local counted = {}

--- The form of a noun that a number asks for.
---@param number number
---@param singular string
---@param plural? string default: the singular and an s
---@return string
function counted.noun(number, singular, plural)
  return number == 1 and singular or plural or singular .. 's'
end

--- A number and what it counts.
---@param number integer
---@param singular string
---@param plural? string default: the singular and an s
---@return string text '1 example', '3 examples'
function counted.of(number, singular, plural)
  return ('%d %s'):format(number, counted.noun(number, singular, plural))
end

--- A part of a number of things; the noun agrees with the whole.
---@param part integer
---@param whole integer
---@param singular string
---@param plural? string default: the singular and an s
---@return string text '1 of 1 example', '1 of 3 examples'
function counted.part_of(part, whole, singular, plural)
  return ('%d of %s'):format(part, counted.of(whole, singular, plural))
end

return counted
