--- `--set KEY=VALUE`, one per line, over a recipe. What is accepted gives the same runs when the settings are read once
--- more, as a resumed run does.
local errors = require 'icot.base.errors'
local harness = require 'tests.fuzz.harness'
local json = require 'icot.base.json'
local overrides = require 'icot.recipe.overrides'
local recipe = require 'icot.recipe'

local SOURCE = [[
  local recipe = {
    method = 'icot', dataset = { task = 'text', train = 'train.txt' }, model = { layers = 1, heads = 2, width = 8 },
    schedule = { kind = 'linear', tokens_per_epoch = 8 }, train = { epochs = 2 },
  }
]]
local SOURCES = {
  SOURCE .. 'return recipe',
  SOURCE .. "recipe.arms = { { name = 'a' }, { name = 'b', removal = { side = 'right' } } } return recipe",
}

local function parse(texts)
  local settings = {}
  for i, text in ipairs(texts) do
    local setting, message = overrides.parse(text)
    if not setting then errors.raise('%s', message) end
    settings[i] = setting
  end
  return settings
end

local function lines_of(bytes)
  local lines = {}
  for line in (bytes .. '\n'):gmatch('([^\n]*)\n') do lines[#lines + 1] = line end
  return lines
end

return function()
  return function(bytes)
    local source = SOURCES[#bytes % 2 + 1]
    local read = recipe.from_source('fuzz.lua', source, { settings = parse(lines_of(bytes)) })
    assert(json.decode(read.config_json), 'the configuration is no JSON')
    local texts = read.runs[1].invocation.settings
    local again = recipe.from_source('fuzz.lua', source, { settings = parse(texts) })
    assert(again.config_json == read.config_json, 'read once more it is another configuration')
    for _, run in ipairs(read.runs) do harness.check_message(run.output) end
  end
end
