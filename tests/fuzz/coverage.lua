--- Coverage of Lua code: modules that are loaded from here on count what they run, so that libFuzzer can tell an input
--- that reaches something new.
---
--- A count is put wherever a block begins, where one ends, and behind every `and` and `or`:
---     if a or b then x() end     →     if a or not _hit(1) or b then _n[2]=_n[2]+1; x() end _n[3]=_n[3]+1;
--- Lines stay as they are. LuaJIT's own line hooks would do without this, but run nothing compiled, and slowly.
local temporary = require 'tests.lua.support.temporary'

local find, sub = string.find, string.sub

local coverage = {}

local counts = {} -- how often each place has run since the last time that was published

local function hit(place)
  counts[place] = counts[place] + 1
  return true
end

-- ---- Putting the counts in ----------------------------------------------------------------------

local function new_place()
  counts[#counts + 1] = 0
  return #counts
end

local function count_here()
  local place = new_place()
  return (' _n[%d]=_n[%d]+1; '):format(place, place)
end

-- Where the string in quotation marks that begins at `start` ends.
local function end_of_quotation(source, start)
  local mark, position = sub(source, start, start), start + 1
  while true do
    local at = assert(find(source, '[\\' .. mark .. ']', position))
    if sub(source, at, at) == mark then return at end
    position = at + 2
  end
end

local comments_and_long_strings = {
  '^%-%-%[(=*)%[.-%]%1%]', '^%-%-[^\n]*', '^%[(=*)%[.-%]%1%]',
}

-- The end of the token at a place. Numbers count as one, so that no letter in them is taken for a word.
local function end_of_token(source, start)
  for _, pattern in ipairs(comments_and_long_strings) do
    local _, stop = find(source, pattern, start)
    if stop then return stop end
  end
  if find(source, '^["\']', start) then return end_of_quotation(source, start) end
  local _, stop = find(source, '^[%w_]+', start)
  return stop or start
end

-- What is put behind a token. `open` lists the blocks that wait for an `end`.
local function insertion(token, open)
  local top = open[#open]
  if token == 'function' then
    open[#open + 1] = 'parameters'
  elseif token == ')' and top == 'parameters' then
    open[#open] = 'function'
    return count_here()
  elseif token == 'if' or token == 'do' then
    open[#open + 1] = 'block'
    return token == 'do' and count_here() or ''
  elseif token == 'then' or token == 'else' or token == 'repeat' then
    return count_here()
  elseif token == 'end' then
    open[#open] = nil
    return top == 'block' and count_here() or ''
  elseif token == 'and' then
    return (' _hit(%d) and'):format(new_place())
  elseif token == 'or' then
    return (' not _hit(%d) or'):format(new_place())
  end
  return ''
end

--- The same source with counts in it.
---@param source string of a Lua chunk; it finds `_n` and `_hit` in the global `icot_coverage`
---@return string
function coverage.instrument(source)
  local parts, open, position = { 'local _n, _hit = icot_coverage.counts, icot_coverage.hit; ' }, {}, 1
  while position <= #source do
    local stop = end_of_token(source, position)
    local token = sub(source, position, stop)
    parts[#parts + 1] = token
    parts[#parts + 1] = insertion(token, open)
    position = stop + 1
  end
  return table.concat(parts)
end

-- ---- Loading ------------------------------------------------------------------------------------

--- From here on `require` counts what runs in the modules that it finds on these paths, but for those of tests.
---@param paths string[] templates as in package.path
function coverage.install(paths)
  rawset(_G, 'icot_coverage', { counts = counts, hit = hit })
  local template = table.concat(paths, ';')
  table.insert(package.loaders, 2, function(name)
    local path = not name:find('^tests%.') and package.searchpath(name, template)
    return path and assert(loadstring(coverage.instrument(temporary.contents(path)), '@' .. path)) or nil
  end)
end

-- ---- Counting -----------------------------------------------------------------------------------

--- Forgets what was counted.
function coverage.clear()
  for place = 1, #counts do counts[place] = 0 end
end

--- Hands over what was counted since the last time.
---@param counters ffi.cdata* (capacity) uint8_t; those of places that have not run stay as they are
---@param capacity integer
function coverage.publish(counters, capacity)
  assert(#counts <= capacity, 'more places than counters')
  for place = 1, #counts do
    local count = counts[place]
    if count > 0 then
      counters[place - 1] = count < 255 and count or 255
      counts[place] = 0
    end
  end
end

return coverage
