--- Python scripts that look at what icot has written, as its users would.
local json = require 'icot.base.json'

local python = {}

--- The Python that has h5py, pandas and the rest.
python.program = os.getenv('ICOT_PYTHON') or '/usr/bin/python3'

--- Runs a script and decodes the JSON that it prints.
---@param script string path
---@param ... string arguments; they must have no single quotes
---@return any
function python.json_of(script, ...)
  local command = python.program .. ' ' .. script
  for _, argument in ipairs { ... } do command = ("%s '%s'"):format(command, argument) end
  local pipe = assert(io.popen(command))
  local text = pipe:read('*a')
  pipe:close()
  return json.decode(text) or error(('no JSON from %s: %s'):format(command, text))
end

return python
