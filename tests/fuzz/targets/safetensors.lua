--- safetensors: all tensors of a file that opens can be read, or are refused with a message.
local errors = require 'icot.base.errors'
local harness = require 'tests.fuzz.harness'
local parts = require 'tests.fuzz.parts'
local safetensors = require 'icot.tensor.safetensors'

local function read_all(file)
  for _, name in ipairs(file:names()) do
    local ok, result = pcall(file.read, file, name)
    if ok then
      assert(result:numel() >= 0)
      result:free()
    elseif errors.is_user_error(result) then
      harness.check_message(result.message)
    else
      error(result, 0)
    end
  end
end

return function(folder)
  local path = folder .. '/x.safetensors'
  return function(bytes)
    parts.write(path, bytes)
    local file = safetensors.open(path)
    local ok, problem = pcall(read_all, file)
    file:close()
    if not ok then error(problem, 0) end
  end
end
