--- Options that several commands have, as they are declared to the argument parser; icot.cli.common acts on them.
local core = require 'icot.engine.core'
local fields = require 'icot.recipe.fields'
local overrides = require 'icot.recipe.overrides'
local run_paths = require 'icot.results.run_paths'

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

--- Settings: `--set KEY=VALUE`, as often as one likes; gives a list of icot.Setting.
---@param parser table
---@param doc string for --help
function declare.settings(parser, doc)
  parser:option('--set', doc .. '; may be repeated'):argname('KEY=VALUE'):count('*'):convert(overrides.parse)
end

--- The number of threads to compute with.
---@param parser table
function declare.threads(parser)
  declare.integer(parser, '--threads', 'CPU threads; default: all cores', 1, tonumber(core.C.ICOT_MOST_THREADS))
end

--- The device to compute on.
---@param parser table
---@param doc? string for --help, after the names; default: of commands that look at runs, for which it does not matter
---   where they were trained
function declare.device(parser, doc)
  local field = fields.run.device
  local known = table.concat(field.one_of, ' or ')
  local told = doc and known .. '; ' .. doc or known:gsub(field.default, '%0 (default)')
  parser:option('--device', told):argname('DEVICE'):choices(field.one_of)
end

--- A file of tables that is written beside the run that they are about.
---@param parser table
---@param what string what --out is, for --help
---@param word string that their file is told by: 'frontier'
function declare.tables(parser, what, word)
  local default = run_paths.of_findings('RUN', word)
  parser:option('--out', ('%s, an HDF5 file; default: %s'):format(what, default)):argname('PATH')
  parser:flag('--force', 'overwrite the file if it exists')
end

return declare
