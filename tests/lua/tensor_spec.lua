--- Tensors as the user of Lua sees them.
local core = require 'icot.engine.core'
local expect = require 'tests.lua.support.expect'
local random = require 'icot.engine.random'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local message_of, mentions = expect.user_error, expect.mentions

-- Each test runs in a scope of its own.
local function check(name, body)
  it(name, function() scope.run(body) end)
end

-- Compares nested tables of numbers to within rounding.
local function assert_near(expected, got, bound)
  if type(expected) == 'number' then
    assert(math.abs(expected - got) <= (bound or 1e-6) * math.max(1, math.abs(expected)),
      ('expected %.9g, got %.9g'):format(expected, got))
    return
  end
  assert.equal(#expected, #got)
  for i = 1, #expected do assert_near(expected[i], got[i], bound) end
end

local function near(expected, got, bound) assert_near(expected, got:totable(), bound) end

describe('printing a tensor', function()
  check('shows shape, dtype and values', function()
    assert.equal('tensor (2, 3) float32\n[[1, 2.5, -3],\n [0.125, 1e+10, 0]]',
      tostring(tensor.new { { 1, 2.5, -3 }, { 0.125, 1e10, 0 } }))
    assert.equal('tensor (3) int32\n[1, -2, 3]', tostring(tensor.new({ 1, -2, 3 }, 'int32')))
    assert.equal('tensor () float32\n7', tostring(tensor.new(7)))
    local deep = tensor.new { { { 1, 2 } }, { { 3, 4 } } }
    assert.equal('tensor (2, 1, 2) float32\n[[[1, 2]],\n [[3, 4]]]', tostring(deep))
  end)

  check('leaves out the middle of long dimensions', function()
    local counting = {}
    for i = 1, 9 do counting[i] = i end
    assert.equal('tensor (9) float32\n[1, 2, 3, …, 7, 8, 9]', tostring(tensor.new(counting)))
    counting[9] = nil
    assert.equal('tensor (8) float32\n[1, 2, 3, 4, 5, 6, 7, 8]', tostring(tensor.new(counting)))
    assert.equal(7, select(2, tostring(tensor.zeros { 100, 2 }):gsub('\n', ''))) -- 3 rows, …, 3 rows
  end)

  check('shows what has no elements, and what is no number', function()
    assert.equal('tensor (0) float32\n[]', tostring(tensor.new {}))
    assert.equal('tensor (2, 0) float32\n[[],\n []]', tostring(tensor.zeros { 2, 0 }))
    assert.matches('^tensor %(2%) float32\n%[%-?nan, inf%]$', tostring(tensor.new { 0 / 0, math.huge }))
  end)

  check('shows views in their own order', function()
    local x = tensor.new { { 1, 2 }, { 3, 4 } }
    assert.equal('tensor (2, 2) float32\n[[1, 3],\n [2, 4]]', tostring(x:transpose(0, 1)))
  end)
end)

describe('tensors', function()
  check('are made of nested tables, numbers and C arrays', function()
    assert.same({ { 1, 2 }, { 3, 4 } }, tensor.new({ { 1, 2 }, { 3, 4 } }):totable())
    assert.same({ 2, 2, 1 }, tensor.new({ { { 1 }, { 2 } }, { { 3 }, { 4 } } }):shape())
    assert.same({ 3, 3 }, tensor.full({ 2 }, 3):totable())
    assert.same({ 1, 1 }, tensor.ones({ 2 }, 'int32'):totable())
    assert.equal('int32', tensor.zeros({ 1 }, 'int32'):dtype())
    local ints = require('ffi').new('int32_t[3]', 5, 6, 7)
    assert.same({ 5, 6, 7 }, tensor.from_ints(ints, 3):totable())
    assert.equal(2.5, tensor.new(2.5):item())
    assert.same({ 4, 0, 3 }, tensor.zeros({ 4, 0, 3 }):shape())
    assert.same({ 4, 3 }, tensor.empty({ 4, 3 }):shape())
    assert.equal(0, tensor.zeros({ 4, 0, 3 }):numel())
    assert.equal(3, tensor.zeros({ 4, 3 }):size(-1))
  end)

  check('compute with numbers on either side', function()
    local x = tensor.new { 1, 2, 4 }
    near({ 3, 4, 6 }, x + 2)
    near({ 3, 4, 6 }, 2 + x)
    near({ -1, 0, 2 }, x - 2)
    near({ 1, 0, -2 }, 2 - x)
    near({ 3, 6, 12 }, x * 3)
    near({ 3, 6, 12 }, 3 * x)
    near({ 0.5, 1, 2 }, x / 2)
    near({ 4, 2, 1 }, 4 / x)
    near({ -1, -2, -4 }, -x)
    near({ 1, 4, 16 }, x ^ 2)
    near({ 1, 2 ^ 0.5, 2 }, x:pow(0.5))
  end)

  check('broadcast as in PyTorch', function()
    local column, row = tensor.new { { 1 }, { 2 } }, tensor.new { 10, 20, 30 }
    near({ { 11, 21, 31 }, { 12, 22, 32 } }, column + row)
    near({ { 10, 20, 30 }, { 20, 40, 60 } }, column * row)
    near({ { 9, 19, 29 }, { 8, 18, 28 } }, row - column)
    near({ { 10, 20, 30 }, { 5, 10, 15 } }, row / column)
  end)

  check('have the usual functions', function()
    local x = tensor.new { -1, 0, 2 }
    near({ math.exp(-1), 1, math.exp(2) }, x:exp())
    near({ 0, 0, 2 }, x:relu())
    near({ -0.76159416, 0, 0.96402758 }, x:tanh())
    near({ 0.26894142, 0.5, 0.88079708 }, x:sigmoid())
    near({ -0.15880801, 0, 1.95459769 }, x:gelu())
    near({ 0, math.log(3) }, tensor.new({ 1, 3 }):log())
    near({ 1, 3 }, tensor.new({ 1, 9 }):sqrt())
    near({ 0.04201007, 0.1141952, 0.84379473 }, x:softmax())
    near({ -3.16984599, -2.16984599, -0.16984599 }, x:log_softmax())
    near({ { 19, 22 }, { 43, 50 } }, tensor.new({ { 1, 2 }, { 3, 4 } }):matmul(tensor.new { { 5, 6 }, { 7, 8 } }))
    near({ { 2.5 } }, tensor.new({ { 1, 2 } }):linear(tensor.new { { 0.5, 0.75 } }, tensor.new { 0.5 }))
    near({ { -1, 1 } }, tensor.new({ { 3, 5 } }):layer_norm(tensor.ones { 2 }, tensor.zeros { 2 }, 1e-9))
    near(math.log(2), tensor.zeros({ 3, 2 }):cross_entropy(tensor.new({ 0, 1, 1 }, 'int32')))
    assert.same({ 1, 0 }, tensor.new({ { 1, 5, 2 }, { 7, 0, 7 } }):argmax():totable())
  end)

  check('are summed and averaged', function()
    local x = tensor.new { { 1, 2, 3 }, { 4, 5, 6 } }
    assert.equal(21, x:sum():item())
    assert.equal(3.5, x:mean():item())
    near({ 5, 7, 9 }, x:sum(0))
    near({ { 6 }, { 15 } }, x:sum(-1, true))
    near({ 2, 5 }, x:mean(1))
  end)

  check('are rearranged', function()
    local x = tensor.new { { 1, 2, 3 }, { 4, 5, 6 } }
    near({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, x:reshape(3, -1))
    near({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, x:transpose(0, -1))
    near({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, x:permute(1, 0))
    near({ { 2, 3 }, { 5, 6 } }, x:narrow(1, 1, 2))
    near({ { 2, 5 }, { 3, 6 } }, x:transpose(0, 1):narrow(0, 1, 2):contiguous())
    near({ { 7, 7 }, { 8, 8 } }, tensor.new({ { 7 }, { 8 } }):expand(2, 2))
    near({ { 1, 2, 3, 9 }, { 4, 5, 6, 8 } }, tensor.concat({ x, tensor.new { { 9 }, { 8 } } }, 1))
    near({ { 4, 5, 6 }, { 1, 2, 3 }, { 4, 5, 6 } }, x:embedding(tensor.new({ 1, 0, 1 }, 'int32')))
  end)

  check('give gradients that add up', function()
    local x = tensor.new({ 1, 2, 3 }):requires_grad_()
    assert.is_nil(x:grad())
    local y = x * x + 3 * x
    assert.is_true(y:requires_grad())
    y:sum():backward()
    near({ 5, 7, 9 }, x:grad())
    x:exp():sum():backward()
    near({ 5 + math.exp(1), 7 + math.exp(2), 9 + math.exp(3) }, x:grad())
    assert.is_false(x:detach():requires_grad())
    assert.is_false(scope.no_grad(function() return (x * 2):requires_grad() end))
  end)

  check('draw random numbers from a seed', function()
    random.manual_seed(5)
    local a, b = tensor.randn { 4 }, tensor.randn { 4 }
    random.manual_seed(5)
    assert.same(a:totable(), tensor.randn({ 4 }):totable())
    assert.not_same(a:totable(), b:totable())
    local key = random.key(1, 'data', 2)
    assert.same(tensor.rand({ 9 }, { key = key }):totable(), tensor.rand({ 9 }, { key = key }):totable())
    for _, u in ipairs(tensor.rand({ 1000 }, { low = -1, high = 1 }):totable()) do assert(u >= -1 and u < 1) end
    local x = tensor.randn({ 10000 }, { mean = 3, std = 0.5 })
    assert_near(3, x:mean():item(), 0.01)
    assert_near(0.25, ((x - 3) ^ 2):mean():item(), 0.02)
  end)

  check('drop elements and scale the others', function()
    local kept = 0
    for _, v in ipairs(tensor.ones({ 10000 }):dropout(0.2, random.key(1, 'dropout', 1)):totable()) do
      assert(v == 0 or math.abs(v - 1.25) < 1e-6)
      if v ~= 0 then kept = kept + 1 end
    end
    assert_near(8000, kept, 0.02)
  end)

  it('name every operator of the core', function()
    local names = tensor.operators()
    assert.equal(core.C.icot_operator_count(), #names)
    for _, name in ipairs(names) do
      assert(tensor.Tensor[name] or tensor[name] or name == 'affine' or name == 'slice'
        or name == 'token_position_embedding', name .. ' has no method')
    end
  end)
end)

describe('tensor errors', function()
  check('say what does not fit', function()
    local a, b = tensor.zeros { 3, 5 }, tensor.zeros { 4, 2 }
    local ids, many = tensor.new({ 0, 7 }, 'int32'), tensor.ones({ 17 }):totable()
    local cases = {
      { 'matmul: got (3,5) x (4,2), inner sizes differ', function() return a:matmul(b) end },
      { 'add: shapes (3,5) and (4,2) cannot be broadcast together', function() return a + b end },
      { 'reshape: a tensor of shape (3,5) cannot become (4,-1)', function() return a:reshape(4, -1) end },
      { 'slice: start 4 and length 2 leave dimension 1', function() return a:narrow(1, 4, 2) end },
      { 'transpose: got dimensions -3 and 1 of a tensor with 2', function() return a:transpose(-5, 1) end },
      { 'transpose: got dimensions 0 and 2 of a tensor with 2', function() return a:transpose(0, 2) end },
      { 'permute: dimension 1 is named twice', function() return a:permute(1, 1) end },
      { 'permute: got 1 dimensions for a tensor with 2', function() return a:permute(1) end },
      { 'sum: got dimension 2 of a tensor with 2', function() return a:sum(2) end },
      { 'mean: there are no elements', function() return tensor.zeros({ 0 }):mean() end },
      { 'softmax: a tensor of shape ()', function() return tensor.new(1):softmax() end },
      { 'expand: a tensor of shape (3,5) cannot become (3,6)', function() return a:expand(3, 6) end },
      { 'does not fit in memory', function() return tensor.new(1):expand(2 ^ 40, 2 ^ 40) end },
      { 'does not fit in memory', function() return tensor.zeros({ 0 }):reshape(0, 2 ^ 40, 2 ^ 40) end },
      { 'concat: shapes (3,5) and (4,2) differ outside dimension 0', function() return tensor.concat({ a, b }, 0) end },
      { 'embedding: id 1 is 7, expected 0 to 2', function() return a:embedding(ids) end },
      { 'embedding: tensor 2 is float32, expected int32', function() return a:embedding(b) end },
      { 'cross_entropy: target 1 is 7, expected 0 to 1',
        function() return tensor.zeros({ 2, 2 }):cross_entropy(ids) end },
      { 'linear: got input (3,5) and weight (4,2)', function() return a:linear(b) end },
      { 'dropout: got p = 1', function() return a:dropout(1, random.key(1, 'dropout')) end },
      { 'layer_norm: got eps = 0', function() return a:layer_norm(tensor.ones { 5 }, tensor.ones { 5 }, 0) end },
      { 'attention: 1 channels cannot be shared by 2 heads',
        function() return tensor.zeros({ 1, 3 }):attention(tensor.new({ 0, 1 }, 'int32'), 2) end },
      { 'argmax: got float32 (3)', function() return tensor.zeros({ 3 }):argmax() end },
      { 'item: the tensor has 15 elements', function() return a:item() end },
      { 'size: got dimension 2 of a tensor with 2', function() return a:size(2) end },
      { 'backward: got a float32 tensor of shape (3,5)', function() return a:backward() end },
      { 'backward: nothing was recorded', function() return a:sum():backward() end },
      { 'add: argument 2 is a string, expected a tensor', function() return a + 'x' end },
      { "tensor: 'float64' is not a dtype", function() return tensor.zeros({ 1 }, 'float64') end },
      { 'reshape: got 1.5, expected a whole number', function() return a:reshape(1.5, 10) end },
      { 'nan, expected a whole number', function() return a:narrow(0, 0 / 0, 1) end },
      { 'sum: got a string, expected a whole number', function() return a:sum('one') end },
      { 'pow: got a table, expected a number', function() return a ^ a end },
      { "there is no operator 'cosine'", function() return tensor.apply('cosine', { a }) end },
      { 'affine: got 7 numbers, at most 5 can be given', function()
        return tensor.apply('affine', { a }, nil, { 1, 2, 3, 4, 5, 6, 7 })
      end },
      { 'reshape: got 17 indices, at most 16 can be given', function() return a:reshape(unpack(many)) end },
      { 'tensor: got 1.5, expected a whole number', function() return tensor.zeros { 1.5 } end },
      { 'tensor: the shape is a number, expected a table', function() return tensor.zeros(3, 4) end },
      { 'tensor: dimension 0 has size -1', function() return tensor.zeros { -1 } end },
      { 'tensor: got 7 dimensions', function() return tensor.zeros { 1, 1, 1, 1, 1, 1, 1 } end },
      { 'tensor: a row has 1 element where others have 2', function() return tensor.new { { 1, 2 }, { 3 } } end },
      { 'tensor: expected nested tables of numbers', function() return tensor.new { { 1, 2 }, 3 } end },
      { 'tensor: expected nested tables of numbers', function() return tensor.new { 'one' } end },
      { 'tensor: got 1.5 for an int32 tensor, expected whole numbers from -2^31 to', function()
        return tensor.new({ 1, 1.5 }, 'int32')
      end },
      { 'tensor: got 2147483648 for an int32 tensor', function() return tensor.new({ 2 ^ 31 }, 'int32') end },
      { 'fill: got 0.5 for an int32 tensor, expected a whole number', function()
        return tensor.full({ 1 }, 0.5, 'int32')
      end },
      { 'fill: 3e+09 is out of the range of int32', function() return tensor.full({ 1 }, 3e9, 'int32') end },
    }
    for _, case in ipairs(cases) do mentions(message_of(case[2]), case[1]) end
  end)

  check('say that a tensor is gone', function()
    local stale = scope.run(function() return tensor.ones { 2 } end)
    local gone = 'this tensor is gone: its scope was closed, or it was freed or released '
      .. '(keep() moves a tensor out of a scope)'
    assert.equal('describe: ' .. gone, message_of(stale.totable, stale))
    assert.equal('describe: ' .. gone, message_of(stale.shape, stale))
    assert.equal('describe: ' .. gone, message_of(tostring, stale))
    assert.equal('backward: ' .. gone, message_of(stale.backward, stale))
    assert.equal('add, tensor 2: ' .. gone, message_of(function() return tensor.ones { 2 } + stale end))
    local freed = tensor.ones { 2 }
    freed:free()
    assert.equal('free: ' .. gone, message_of(freed.free, freed))
  end)

  check('leave nothing behind', function()
    local a = tensor.zeros { 3, 5 }
    pcall(a.matmul, a, a)
    local before = core.memory().live
    for _ = 1, 50 do message_of(a.matmul, a, a) end
    assert.equal(before, core.memory().live)
  end)
end)
