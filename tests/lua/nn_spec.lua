--- Layers: parameters, names, a layer of one's own.
local expect = require 'tests.lua.support.expect'
local gradients = require 'tests.lua.support.gradients'
local nn = require 'icot.nn'
local optim = require 'icot.training.optim'
local random = require 'icot.engine.random'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local function names(module)
  local list = {}
  for i, each in ipairs(module:named_parameters()) do list[i] = each.name end
  return list
end

describe('a layer of one\'s own', function()
  -- Ten lines: a network whose output is gated.
  local Gated = nn.class('Gated')
  function Gated:init(width, hidden)
    self.inner = nn.Linear(width, hidden)
    self.gate = nn.Linear(width, hidden)
    self.out = nn.Linear(hidden, 1)
  end
  function Gated:forward(x)
    return self.out(self.inner(x):tanh() * self.gate(x):sigmoid())
  end

  it('trains', function()
    random.manual_seed(1)
    local layer = Gated(2, 16)
    local optimizer = optim.AdamW(layer:parameters(), { lr = 0.02, weight_decay = 0 })
    local first, last
    for step = 1, 150 do -- y = x1·x2
      scope.run(function()
        local x = tensor.rand({ 64, 2 }, { low = -1, high = 1, key = random.key(7, 'data', step) })
        local y = x:narrow(1, 0, 1) * x:narrow(1, 1, 1)
        local loss = ((layer(x) - y) ^ 2):mean()
        loss:backward()
        optimizer:step()
        optimizer:zero_grad()
        first, last = first or loss:item(), loss:item()
      end)
    end
    assert(last < first / 20, ('the loss went from %g to %g'):format(first, last))
    optimizer:free()
    layer:free()
  end)

  it('says when it has no forward function', function()
    local Nothing = nn.class('Nothing')
    expect.mentions(expect.user_error(Nothing(), tensor), "the class 'Nothing' has no forward function")
  end)
end)

describe('parameters', function()
  it('are found in fields, layers and lists, each once, in a fixed order', function()
    scope.run(function()
      local module = setmetatable({}, getmetatable(nn.Linear(1, 1)))
      module.b = nn.Linear(2, 3)
      module.a = { nn.LayerNorm(4), nn.Linear(4, 4, { bias = false }) }
      module.tied = module.b.weight
      module.not_trained = tensor.ones { 5 }
      module.itself = module
      assert.same({ 'a.0.bias', 'a.0.weight', 'a.1.weight', 'b.bias', 'b.weight' }, names(module))
      assert.equal(4 + 4 + 16 + 3 + 6, module:count_parameters())
    end)
  end)

  it('of the layers have PyTorch\'s names and shapes', function()
    scope.run(function()
      local block = nn.Block(6, 2, {})
      local shapes = {}
      for _, each in ipairs(block:named_parameters()) do
        shapes[each.name] = table.concat(each.tensor:shape(), 'x')
      end
      assert.same({
        ['ln_1.weight'] = '6', ['ln_1.bias'] = '6', ['ln_2.weight'] = '6', ['ln_2.bias'] = '6',
        ['attn.c_attn.weight'] = '18x6', ['attn.c_attn.bias'] = '18',
        ['attn.c_proj.weight'] = '6x6', ['attn.c_proj.bias'] = '6',
        ['mlp.c_fc.weight'] = '24x6', ['mlp.c_fc.bias'] = '24',
        ['mlp.c_proj.weight'] = '6x24', ['mlp.c_proj.bias'] = '6',
      }, shapes)
      assert.same({ 7, 3 }, nn.Embedding(7, 3).weight:shape())
    end)
  end)

  it('begin as asked for, by seed', function()
    scope.run(function()
      local one = nn.Linear(200, 100, { std = 0.1, generator = random.generator(3) })
      local same = nn.Linear(200, 100, { std = 0.1, generator = random.generator(3) })
      assert.same(one.weight:totable(), same.weight:totable())
      assert.near(0.01, (one.weight:detach() ^ 2):mean():item(), 0.0005)
      assert.equal(0, (one.bias:detach() ^ 2):sum():item())
      assert.near(1 / 200, (nn.Linear(200, 100).weight:detach() ^ 2):mean():item(), 0.0005)
      local norm = nn.LayerNorm(4)
      assert.same({ { 1, 1, 1, 1 }, { 0, 0, 0, 0 } }, { norm.weight:totable(), norm.bias:totable() })
    end)
  end)

  it('are gone after free', function()
    local layer = nn.Linear(2, 2)
    local weight = layer.weight
    layer:free()
    expect.mentions(expect.user_error(weight.shape, weight), 'this tensor is gone')
  end)
end)

describe('dropout', function()
  it('works only where the context says so, from a stream of its own', function()
    scope.run(function()
      local x, context = tensor.ones { 1000 }, { dropout = { seed = 1, step = 5 } }
      local drop, other = nn.Dropout(0.5, 1), nn.Dropout(0.5, 2)
      assert.same(x:totable(), drop(x):totable())
      assert.same(x:totable(), drop(x, {}):totable())
      assert.same(x:totable(), nn.Dropout(0)(x, context):totable())
      local dropped = drop(x, context):totable()
      assert.not_same(x:totable(), dropped)
      assert.same(dropped, drop(x, context):totable())
      assert.not_same(dropped, other(x, context):totable())
      assert.not_same(dropped, drop(x, { dropout = { seed = 1, step = 6 } }):totable())
      local residual = tensor.randn { 1000 }
      assert.same((residual + drop(x, context)):totable(), drop(x, context, false, residual):totable())
      assert.same((residual + x):totable(), drop(x, {}, false, residual):totable())
    end)
  end)
end)

describe('attention', function()
  it('refuses heads that do not fit', function()
    expect.mentions(expect.user_error(nn.Attention, 10, 3), 'a width of 10 cannot be shared by 3 heads')
  end)
end)

describe('a block', function()
  -- What it gives, and the gradients of its parameters and its input, as one list.
  local function results(block, x, context, rows)
    local leaves, found = { x, unpack(block:parameters()) }, {}
    local function note(values, n)
      for i = 0, tonumber(n) - 1 do found[#found + 1] = values[i] end
    end
    local y = block(x, context, rows)
    note(y:read());
    (y * y):sum():backward()
    for _, leaf in ipairs(leaves) do note(leaf:grad():read()) end
    optim.AdamW(leaves):zero_grad()
    return found
  end

  local function near(expected, got)
    assert.equal(#expected, #got)
    for i, value in ipairs(expected) do assert.near(value, got[i], 1e-4 * (1 + math.abs(value))) end
  end

  it('is the same in whole layers as operator by operator, dropout included', function()
    local fuses_layers = tensor.fuses_layers
    finally(function() tensor.fuses_layers = fuses_layers end)
    scope.run(function()
      local block = nn.Block(12, 3, { layer = 2, dropout = 0.3, std = 0.3 })
      local x = tensor.randn({ 9, 12 }):requires_grad_()
      local context = { cu_seqlens = tensor.new({ 0, 4, 9 }, 'int32'), first_token = 5, first_target = 5 }
      context.dropout = { seed = 3, step = 8 }
      tensor.fuses_layers = function() return false end
      local apart = results(block, x, context)
      near(apart, results(block, x, context, tensor.new({ 0, 1, 2, 3, 4, 5, 6, 7, 8 }, 'int32'))) -- step by step
      local some, whole = tensor.new({ 1, 2, 7 }, 'int32'), context
      context = setmetatable({ first_target = 11 }, { __index = whole }) -- rows are counted from elsewhere then
      local of_some = results(block, x, context, some)
      tensor.fuses_layers = function() return true end
      near(apart, results(block, x, whole))
      near(of_some, results(block, x, context, some))
    end)
  end)
end)

describe('an LSTM', function()
  local function sigmoid(x) return 1 / (1 + math.exp(-x)) end

  it('cell gives what its formula says, with gates in PyTorch\'s order', function()
    scope.run(function()
      local cell = nn.LSTMCell(1, 1)
      cell.weight_ih = tensor.new { { 0.5 }, { -1 }, { 2 }, { 0.25 } }
      cell.weight_hh = tensor.new { { 1 }, { 0.5 }, { -0.5 }, { 3 } }
      cell.bias_ih, cell.bias_hh = tensor.new { 0.1, 0.2, 0.3, 0.4 }, tensor.new { 0, 0.1, 0, -0.1 }
      local x, hidden, memory = 0.7, 0.3, -0.6
      local after = cell(tensor.new { { x } }, { hidden = tensor.new { { hidden } }, cell = tensor.new { { memory } } })
      local input, forget = sigmoid(0.5 * x + hidden + 0.1), sigmoid(-x + 0.5 * hidden + 0.3)
      local candidate, output = math.tanh(2 * x - 0.5 * hidden + 0.3), sigmoid(0.25 * x + 3 * hidden + 0.3)
      local expected = forget * memory + input * candidate
      assert.near(expected, after.cell:item(), 1e-6)
      assert.near(output * math.tanh(expected), after.hidden:item(), 1e-6)
      local zeros = { hidden = tensor.zeros { 1, 1 }, cell = tensor.zeros { 1, 1 } }
      assert.same(cell(tensor.new { { x } }, zeros).hidden:totable(), cell(tensor.new { { x } }).hidden:totable())
    end)
  end)

  it('that attends to its earlier outputs has the gradients of finite differences', function()
    random.manual_seed(5)
    local layer = nn.AttentiveLSTM(6)
    local inputs, target = {}, tensor.randn { 12, 6 }
    for k = 1, 4 do inputs[k] = tensor.randn { 3, 6 } end
    gradients.check(layer:named_parameters(), function()
      local state, outputs = nil, {}
      for k, x in ipairs(inputs) do outputs[k], state = layer(x, state) end
      return ((tensor.concat(outputs, 0) - target) ^ 2):mean()
    end)
    layer:free()
  end)

  it('finds nothing at its first step, and its only earlier output at its second', function()
    scope.run(function()
      local layer = nn.AttentiveLSTM(4)
      local x = tensor.randn { 2, 4 }
      local _, first = layer(x)
      assert.same(tensor.zeros({ 2, 4 }):totable(), first.found:totable())
      local _, second = layer(x, first)
      for row = 1, 2 do
        for k, value in ipairs(first.state.hidden:totable()[row]) do
          assert.near(value, second.found:totable()[row][k], 1e-6)
        end
      end
      assert.same({ 2, 2, 4 }, second.keys:shape())
    end)
  end)
end)

describe('layers', function()
  it('layers begin with numbers of their own', function()
    local generator = random.generator(1)
    local one, other = nn.Linear(3, 4, { generator = generator }), nn.Linear(3, 4, { generator = generator })
    assert.not_same(one.weight:totable(), other.weight:totable())
  end)
end)
