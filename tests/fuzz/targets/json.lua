--- JSON: what is decoded comes back when it is encoded, and a repeated key is found without trouble.
local harness = require 'tests.fuzz.harness'
local json = require 'icot.base.json'
local json_text = require 'icot.base.json_text'

return function()
  return function(bytes)
    local value, message = json.decode(bytes)
    if value == nil then return harness.check_message(message) end
    json_text.repeated_key(bytes)
    local text = json.encode(value)
    assert(json_text.repeated_key(text) == nil, 'encoded a key twice')
    local again, problem = json.decode(text)
    assert(again ~= nil, problem)
    assert(json.encode(again) == text, 'encoded and decoded it is another')
  end
end
