--- Runs programs as a user would, and tells what they wrote and how they ended.
local temporary = require 'tests.lua.support.temporary'

local program = {}

program.icot = assert(os.getenv('ICOT_PROGRAM'), 'ICOT_PROGRAM is not set; use tests/run')

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs a shell command, without what tests/run set for LuaJIT.
---@param command string
---@return { code: integer, out: string, err: string }
function program.shell(command)
  local folder = temporary.folder()
  local out, err, code = folder .. '/out', folder .. '/err', folder .. '/code'
  os.execute(('( unset LUA_PATH; %s\n) > %s 2> %s < /dev/null; echo $? > %s'):format(command, out, err, code))
  return {
    code = tonumber(temporary.read(code)), out = temporary.read(out), err = temporary.read(err),
  }
end

--- Runs icot.
---@param arguments string[]
---@param options? { folder?: string, environment?: string, input?: string } where; with which variables
---   (`NAME=value …`); what the standard input has
---@return { code: integer, out: string, err: string }
function program.run(arguments, options)
  options = options or {}
  local words = { quote(program.icot) }
  for i, argument in ipairs(arguments) do words[i + 1] = quote(argument) end
  local folder = options.folder and ('cd %s && '):format(quote(options.folder)) or ''
  if options.input then
    words[#words + 1] = '< ' .. quote(temporary.write(temporary.folder() .. '/input', options.input))
  end
  return program.shell(('%s%s %s'):format(folder, options.environment or '', table.concat(words, ' ')))
end

--- Runs icot in a folder.
---@param folder? string
---@param ... string arguments
---@return { code: integer, out: string, err: string }
function program.run_in(folder, ...)
  return program.run({ ... }, { folder = folder })
end

return program
