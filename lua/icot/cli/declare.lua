--- Declares kinds of options that several commands have.
local declare = {}

--- An option that takes an integer.
---@param parser table of lua-argparse
---@param name string '--seed'
---@param doc string for --help
---@param least integer
---@param most integer
function declare.integer(parser, name, doc, least, most)
  parser:option(name, doc):argname('N'):convert(function(text)
    local number = tonumber(text)
    if number and number % 1 == 0 and number >= least and number <= most then return number end
    return nil, ("%s: got '%s', expected an integer from %d to %.0f"):format(name, text, least, most)
  end)
end

return declare
