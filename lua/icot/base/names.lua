--- Names in order, and what a user who mistyped one may have meant.
local names = {}

--- Edits (insert, delete, replace, swap two neighbours) that turn one word into another: the
--- distance of Damerau and Levenshtein, in the form that edits no part twice.
---@param a string
---@param b string
---@return integer
function names.distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    local row, above, two_above = { [0] = i }, rows[i - 1], rows[i - 2]
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + cost)
      local swapped = i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j)
      row[j] = swapped and math.min(best, two_above[j - 2] + 1) or best
    end
    rows[i] = row
  end
  return rows[#a][#b]
end

--- The nearest of the known names, if one is near enough to be what was meant.
---@param given string
---@param known string[] the first of those equally near is taken
---@return string? name
function names.nearest(given, known)
  local nearest, least = nil, math.huge
  for _, name in ipairs(known) do
    local distance = names.distance(given:lower(), name:lower())
    if #given >= 3 and name:find(given, 1, true) == 1 then distance = math.min(distance, 1) end -- cut short
    if distance < least then nearest, least = name, distance end
  end
  local longest = nearest and math.max(#given, #nearest) or 0
  return least <= math.max(1, math.floor(longest / 3)) and nearest or nil
end

--- What to tell a user who gave a name that is not known.
---@param given any
---@param known string[]
---@return string hint 'did you mean small?', or the list of all there are
function names.hint(given, known)
  local nearest = type(given) == 'string' and names.nearest(given, known)
  if nearest then return ('did you mean %s?'):format(nearest) end
  return 'known are: ' .. (#known > 0 and table.concat(known, ', ') or 'none')
end

local function sorted_keys(map, comes_before)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys, comes_before)
  return keys
end

--- The keys of a table, sorted as text: what a user gave may mix names and numbers.
---@param map table
---@return any[]
function names.sorted(map)
  return sorted_keys(map, function(a, b) return tostring(a) < tostring(b) end)
end

--- The same with the numbers first, by their size.
---@param map table
---@return any[]
function names.after_numbers(map)
  return sorted_keys(map, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == 'number'
  end)
end

return names
