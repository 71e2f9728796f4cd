--- Folders and processes that tests need.
local json = require 'icot.json'

local temporary = {}

--- The Python that has h5py, pandas and the rest.
temporary.python = os.getenv('ICOT_PYTHON') or '/usr/bin/python3'

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read('*a')
  pipe:close()
  return text
end

--- Makes an empty folder.
---@return string path
function temporary.folder()
  return (output_of('mktemp -d'):gsub('%s+$', ''))
end

function temporary.remove(folder)
  os.execute(("rm -rf '%s'"):format(folder))
end

--- Runs a command and decodes the JSON that it prints.
---@param command string
---@return table
function temporary.json_of(command)
  local text = output_of(command)
  return json.decode(text) or error('no JSON from ' .. command .. ': ' .. text)
end

return temporary
