--- checkpoint.json: one that is damaged is refused with a message, whatever is wrong with it.
local checkpoint_format = require 'icot.saved.checkpoint_format'
local expect = require 'tests.lua.support.expect'
local harness = require 'tests.fuzz.harness'
local json = require 'icot.base.json'
local parts = require 'tests.fuzz.parts'

local optional = { -- what a checkpoint of an earlier step may lack
  ['state.accuracy'] = true, ['state.loss'] = true, ['state.planned'] = true, ['state.explicit_accuracy'] = true,
  ['state.cot_was_left'] = true, ['state.last_reset'] = true, ['state.meter.current.lr'] = true,
  ['state.evaluated.valid'] = true, ['state.evaluated.test'] = true, ['kept_for.best'] = true,
  ['result.accuracy'] = true, ['result.explicit_accuracy'] = true, ['result.model_path'] = true,
}
local of_no_concern = { -- is not read back
  arm = true, recipe = true, seed = true, format = true, ['config.name'] = true, ['config.method'] = true,
  ['config.seed'] = true,
}

local function read()
  return json.decode(parts.split(harness.seeds('checkpoint').finished)['checkpoint.json'])
end

-- Calls body(path, set) for each plain value, where set(value) puts another in its place.
local function each_value(given, path, body)
  for name, value in pairs(given) do
    local here = path .. tostring(name)
    if type(value) == 'table' and #value == 0 and here ~= 'state.own' then
      each_value(value, here .. '.', body)
    else
      body(here, function(new) given[name] = new end)
      given[name] = value
    end
  end
end

local function is_free(path)
  return of_no_concern[path] or path:find('^config%.') or path:find('^state%.own') ~= nil
end

describe('checkpoint.json', function()
  it('is accepted as it was written', function()
    checkpoint_format.check(read(), 'x')
  end)

  it('is refused where a value is of another kind', function()
    local description, seen = read(), 0
    each_value(description, '', function(path, set)
      if is_free(path) then return end
      for _, wrong in ipairs { {}, { 1, {} }, 'no\nsuch', -1.5, false } do
        set(wrong)
        local ok, problem = pcall(checkpoint_format.check, description, 'x.json')
        if not ok then assert.matches('^x%.json: ' .. path:gsub('%p', '%%%0'), problem.message) end
        seen = seen + (ok and 0 or 1)
      end
      set(function() end)
      expect.mentions(expect.user_error(checkpoint_format.check, description, 'x.json'), 'x.json: ' .. path)
    end)
    assert.is_true(seen > 100)
  end)

  it('is refused where a value is missing', function()
    local description = read()
    each_value(description, '', function(path, set)
      if is_free(path) then return end
      set(nil)
      if optional[path] then
        checkpoint_format.check(description, 'x.json')
      else
        expect.mentions(expect.user_error(checkpoint_format.check, description, 'x.json'), 'x.json: ' .. path)
      end
    end)
  end)

  it('has null where an accuracy was NaN', function()
    local description = read()
    description.state.accuracy, description.best.accuracy = json.null, json.null
    checkpoint_format.check(description, 'x')
    for _, each in ipairs { description.state.accuracy, description.best.accuracy } do assert.is_true(each ~= each) end
    description = read()
    description.state.loss = json.null
    expect.mentions(expect.user_error(checkpoint_format.check, description, 'x'), 'x: state.loss: got null')
  end)

  it('may have what a later version adds', function()
    local description = read()
    description.later, description.state.later = 1, {}
    checkpoint_format.check(description, 'x')
  end)
end)
