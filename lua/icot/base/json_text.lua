--- JSON as it is written: what a decoder does not tell of a text that is known to be valid.
local cjson = require 'cjson.safe'

local json_text = {}

-- Where the string ends that begins at a quotation mark.
local function end_of_string(text, start)
  local position = start + 1
  while true do
    local at = text:find('["\\]', position)
    if text:sub(at, at) == '"' then return at end
    position = at + 2
  end
end

--- The first key that some object has twice. A decoder takes the last of them and says nothing.
---@param text string valid JSON
---@return string? key
function json_text.repeated_key(text)
  local depth, keys, position = 0, {}, 1 -- keys[depth]: those of the object that is open there
  while true do
    local at = text:find('["{}%[%]]', position)
    if not at then return nil end
    local mark = text:sub(at, at)
    position = at + 1
    if mark == '"' then
      local stop = end_of_string(text, at)
      position = stop + 1
      if text:find('^%s*:', position) then
        local key = cjson.decode(text:sub(at, stop))
        if keys[depth][key] then return key end
        keys[depth][key] = true
      end
    elseif mark == '{' or mark == '[' then
      depth = depth + 1
      keys[depth] = {}
    else
      depth = depth - 1
    end
  end
end

-- The place after any value that begins at `at`.
local function after_value(text, at)
  local depth = 0
  repeat
    local character = text:sub(at, at)
    if character == '"' then
      at = end_of_string(text, at) + 1
    elseif character == '[' or character == '{' then
      depth, at = depth + 1, at + 1
    elseif character == ']' or character == '}' then
      depth, at = depth - 1, at + 1
    else
      at = text:find('[%[%]{}",%s]', at + 1)
    end
  until depth == 0
  return at
end

--- Where the object that a text is has the value of a name.
---@param text string valid JSON, an object
---@param name string as it is written there
---@return integer? first place; nil: there is nothing
---@return integer? last place
function json_text.find_member(text, name)
  local at = text:match('^%s*{%s*()')
  while text:sub(at, at) == '"' do
    local colon = end_of_string(text, at) + 1
    local first = text:match('^%s*:%s*()', colon)
    local after = after_value(text, first)
    if text:sub(at, colon - 1) == '"' .. name .. '"' then return first, after - 1 end
    at = text:match('^%s*,?%s*()', after)
  end
end

return json_text
