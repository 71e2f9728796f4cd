--- icot against PyTorch and transformers: the numbers they gave lie in tests/fixtures/reference, written by
--- tests/reference/make_fixtures.py. What is compared live, and why these tolerances: tests/reference/run.py.
local Case = require 'tests.reference.model_case'
local course = require 'tests.reference.course'
local json = require 'icot.base.json'
local recipe = require 'icot.recipe'
local safetensors = require 'icot.tensor.safetensors'
local scope = require 'icot.engine.scope'
local temporary = require 'tests.lua.support.temporary'
local tensor = require 'icot.tensor'

local FIXTURES = 'tests/fixtures/reference'
local TINY = FIXTURES .. '/tiny'

local function read_json(name)
  return assert(json.decode(temporary.read(('%s/%s.json'):format(FIXTURES, name))))
end

-- ‖found - expected‖ / ‖unit‖, the unit being `expected` or `expected - start`.
local function relative(found, expected, start)
  local a, n = found:read()
  local b, count = expected:read()
  assert.equal(count, n)
  local from = start and start:read()
  local distance, size = 0, 0
  for i = 0, n - 1 do
    distance, size = distance + (a[i] - b[i]) ^ 2, size + (b[i] - (from and from[i] or 0)) ^ 2
  end
  return math.sqrt(distance / size)
end

-- Expects found[name] to be as near to expected[name] as allowed, for all names of either.
local function expect_near(found, expected, allowed, start)
  for name in pairs(found) do assert(expected[name], name .. ' is not in the fixture') end
  for name, values in pairs(expected) do
    assert(found[name], name .. ' is missing')
    local difference = relative(found[name], values, start and start[name])
    assert(difference <= allowed(name), ('%s differs by %g'):format(name, difference))
  end
end

local function parameters_of(model)
  local found = {}
  for _, each in ipairs(model:hugging_face_tensors()) do
    found['parameter.' .. each.name] = each.tensor + 0 -- a copy
  end
  return found
end

-- Their gradient is zero but for rounding (see run.py), and rounding is what AdamW makes steps of.
local function leave_out_key_biases(parameters)
  for name, values in pairs(parameters) do
    if name:find('%.c_attn%.bias$') then
      local width = values:numel() / 3
      parameters[name] = tensor.concat({ values:narrow(0, 0, width), values:narrow(0, 2 * width, width) }, 0)
    end
  end
end

-- Opens the tiny model, calls body(case, expected) with the tensors of a fixture's file, and frees all.
local function with_case(file, body)
  scope.run(function()
    local expected = file and safetensors.load_file(('%s/%s.safetensors'):format(TINY, file))
    local case = Case.open(TINY)
    body(case, expected)
    case:free()
  end)
end

describe('a model of transformers', function()
  it('has the same logits, loss and gradients here', function()
    with_case('forward', function(case, expected)
      case:forward(function(found)
        expect_near(found, expected, function(name)
          return name == 'loss' and 1e-5 or name == 'logits' and 1e-4 or 1e-3
        end)
      end)
    end)
  end)

  it('is the same after twenty updates with AdamW and clipping, and has the same losses on the way', function()
    local expected_course = read_json('tiny/updates')
    with_case('update_20', function(case, expected)
      local start = parameters_of(case.model)
      case:updates(function(number, loss, norm, parameters)
        assert.near(1, loss / expected_course.losses[number], 1e-5)
        assert.near(1, norm / expected_course.norms[number], 1e-5)
        assert(norm > case.inputs.clip)
        if number < 20 then return end
        for _, each in ipairs { start, parameters, expected } do leave_out_key_biases(each) end
        expect_near(parameters, expected, function() return 5e-4 end, start)
      end)
    end)
  end)

  it('writes the same after 200 prompts, with a cache here and without one there', function()
    with_case(nil, function(case)
      assert.equal(200, #case.inputs.prompts)
      assert.same(read_json('tiny/greedy'), case:greedy())
    end)
  end)
end)

describe('a training with removal', function()
  after_each(temporary.clean)
  local expected, draws = read_json('losses'), read_json('draws')

  for _, run in ipairs(recipe.load('tests/reference/running_maxima.lua').runs) do
    it('has the same loss at each of 300 steps: ' .. run.arm, function()
      assert.same(draws, course.draws(run.config)) -- else make_fixtures.py has to be run again
      run.output, run.model_output = temporary.folder() .. '/run.h5', temporary.folder()
      local losses = course.run(run)
      assert.equal(300, #losses)
      for step, loss in ipairs(expected[run.arm]) do
        local difference = math.abs(loss - losses[step])
        assert(difference <= 1e-3, ('step %d differs by %g'):format(step, difference))
      end
    end)
  end
end)
