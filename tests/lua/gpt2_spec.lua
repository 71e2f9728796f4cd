--- GPT-2: packing changes nothing, only earlier tokens are seen, the same seed gives the same bits.
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local gpt2 = require 'icot.gpt2'
local optim = require 'icot.training.optim'
local removal = require 'icot.text.removal'
local sampler = require 'icot.text.sampler'
local scope = require 'icot.engine.scope'
local tasks = require 'icot.data.tasks'
local tensor = require 'icot.tensor'
local tiny = require 'tests.lua.support.tiny'

local removing = { side = 'left', smoothing = 4, positions = 'closed_up' }

local function ids_of(list) return ffi.new('int64_t[?]', #list, list) end

-- Calls body(packed, loss, logits) on the packed examples.
local function with_loss(model, data, examples, body)
  local packed = batch.new()
  packed:pack(data.train, ids_of(examples), #examples, removal.cut(removing, data, 2))
  local result = scope.run(scope.no_grad, function() return body(packed, model:loss(packed)) end)
  packed:free()
  return result
end

describe('the token embedding', function()
  local data = tiny.dataset()
  local size = data.vocabulary.size

  it('grows by rows that are the mean of the others', function()
    local model = tiny.model(data)
    local rows = model.transformer.wte.weight:totable()
    model:resize_token_embeddings(size + 2)
    local grown = model.transformer.wte.weight
    assert.same({ size + 2, true }, { model.config.vocab_size, grown:requires_grad() })
    local values = grown:totable()
    assert.same({ size + 2, rows }, { #values, { unpack(values, 1, size) } })
    for column = 1, #rows[1] do
      local sum = 0
      for i = 1, size do sum = sum + rows[i][column] end
      assert.near(sum / size, values[size + 1][column], 1e-6)
      assert.equal(values[size + 1][column], values[size + 2][column])
    end
    model:free()
  end)

  it('leaves no memory behind when it grows', function()
    local function grow()
      local model = tiny.model(data)
      model:resize_token_embeddings(size + 1)
      model:free()
    end
    grow()
    local before = core.memory().live
    grow()
    assert.equal(before, core.memory().live)
  end)
end)

describe('packed sequences', function()
  local data = tiny.dataset()
  local model = tiny.model(data)

  it('give the logits and the loss of each sequence alone', function()
    local together, loss_together = {}, nil
    with_loss(model, data, { 0, 1, 2, 3, 4, 5 }, function(packed, loss, logits)
      together, loss_together = logits:totable(), loss:item() * packed:targets()
    end)
    local row, sum = 0, 0
    for example = 0, 5 do
      with_loss(model, data, { example }, function(packed, loss, logits)
        for _, alone in ipairs(logits:totable()) do
          row = row + 1
          assert(tiny.distance(alone, together[row]) < 1e-5)
        end
        sum = sum + loss:item() * packed:targets()
      end)
    end
    assert.equal(#together, row)
    assert.near(sum, loss_together, 1e-4)
  end)

  it('give the same loss and gradients whether the last block works out all rows or the targets\' alone', function()
    local packed, optimizer = batch.new(), optim.AdamW(model:parameters(), {})
    packed:pack(data.train, ids_of { 0, 1, 2 }, 3, removal.cut(removing, data, 1))
    local function gradients(loss_of)
      return scope.run(function()
        local inputs, grads = packed:tensors(), {}
        local loss = loss_of(inputs, { cu_seqlens = inputs.cu_seqlens })
        loss:backward()
        for i, each in ipairs(model:parameters()) do grads[i] = each:grad():reshape(each:numel()):totable() end
        optimizer:zero_grad()
        return { loss = loss:item(), grads = grads }
      end)
    end
    local chosen = gradients(function() return (model:loss(packed)) end)
    local all = gradients(function(inputs, context)
      local hidden = model:hidden(inputs.tokens, inputs.positions, context):embedding(inputs.target_rows)
      return model:logits(hidden):cross_entropy(inputs.targets)
    end)
    assert.near(all.loss, chosen.loss, 1e-6)
    for i = 1, #all.grads do assert(tiny.distance(all.grads[i], chosen.grads[i]) < 1e-5) end
    packed:free()
  end)

  it('see only earlier tokens of their own sequence', function()
    local function hidden(tokens)
      return scope.run(scope.no_grad, function()
        local ints = function(list) return tensor.new(list, 'int32') end
        return model:hidden(ints(tokens), ints { 0, 1, 2, 3, 0, 1, 2 }, { cu_seqlens = ints { 0, 4, 7 } }):totable()
      end)
    end
    local before, after = hidden { 2, 3, 4, 5, 6, 7, 8 }, hidden { 2, 3, 8, 5, 6, 7, 8 }
    for t = 1, 7 do
      local moved = tiny.distance(before[t], after[t])
      if t == 3 or t == 4 then assert(moved > 1e-3) else assert.equal(0, moved) end
    end
  end)
end)

describe('a model', function()
  it('has the parameters of Hugging Face\'s GPT-2', function()
    local sizes = { vocab_size = 9, layers = 3, heads = 2, width = 8, context = 16, dropout = 0 }
    local model = gpt2.new(sizes, 1)
    assert.equal(9 * 8 + 16 * 8 + 3 * (12 * 8 * 8 + 13 * 8) + 2 * 8, model:count_parameters())
    assert.equal(model:count_parameters(), require('icot.gpt2').count_parameters(sizes))
    local found = {}
    for _, each in ipairs(model:named_parameters()) do found[each.name] = each.tensor:shape() end
    assert.same({ 9, 8 }, found['transformer.wte.weight'])
    assert.same({ 16, 8 }, found['transformer.wpe.weight'])
    assert.same({ 24, 8 }, found['transformer.h.2.attn.c_attn.weight'])
    assert.same({ 8 }, found['transformer.ln_f.bias'])
    scope.run(function()
      for _, each in ipairs(model:hugging_face_tensors()) do -- its Conv1D stores (in, out)
        if each.name == 'transformer.h.0.attn.c_attn.weight' then assert.same({ 8, 24 }, each.tensor:shape()) end
        if each.name == 'transformer.wte.weight' then assert.same({ 9, 8 }, each.tensor:shape()) end
      end
    end)
    model:free()
  end)

  it('begins with GPT-2\'s weights', function()
    local model = gpt2.new({ vocab_size = 50, layers = 8, heads = 2, width = 64, context = 64, dropout = 0 }, 1)
    local function deviation(parameter)
      return scope.run(function() return math.sqrt((parameter:detach() ^ 2):mean():item()) end)
    end
    local block = model.transformer.h[8]
    assert.near(0.02, deviation(model.transformer.wte.weight), 0.001)
    assert.near(0.02, deviation(block.mlp.c_fc.weight), 0.001)
    assert.near(0.02 / 4, deviation(block.mlp.c_proj.weight), 0.0003) -- 1/√(2·8)
    assert.near(0.02 / 4, deviation(block.attn.c_proj.weight), 0.0003)
    model:free()
  end)

  it('refuses sizes that cannot be', function()
    local good = { vocab_size = 9, layers = 1, heads = 2, width = 8, context = 16, dropout = 0 }
    local cases = {
      { 'layers', 0, 'layers is 0' }, { 'layers', nil, 'layers is nil' }, { 'width', 1.5, 'width is 1.5' },
      { 'heads', 3, 'a width of 8 cannot be shared by 3 heads' }, { 'context', -1, 'context is -1' },
      { 'vocab_size', '9', 'vocab_size is 9' }, { 'context', 0 / 0, 'context is' },
    }
    for _, case in ipairs(cases) do
      local config = {}
      for name, value in pairs(good) do config[name] = value end
      config[case[1]] = case[2]
      local before = core.memory().live
      expect.mentions(expect.user_error(gpt2.new, config, 1), case[3])
      if case[1] ~= 'heads' then assert.equal(before, core.memory().live) end
    end
  end)

  it('refuses tokens and positions beyond its tables', function()
    local data = tiny.dataset()
    local model = tiny.model(data)
    local function run(token, position)
      scope.run(function()
        local one = function(value) return tensor.new({ value }, 'int32') end
        model:hidden(one(token), one(position), { cu_seqlens = tensor.new({ 0, 1 }, 'int32') })
      end)
    end
    expect.mentions(expect.user_error(run, 9, 0), 'token 0 is 9, expected 0 to 8')
    expect.mentions(expect.user_error(run, 0, data.max_length), ('position 0 is %d'):format(data.max_length))
    expect.mentions(expect.user_error(run, -1, 0), 'token 0 is -1')
    run(8, data.max_length - 1)
    model:free()
  end)

  it('counts its work: 6 operations per weight and token, and attention', function()
    local data = tiny.dataset()
    local model = tiny.model(data) -- 2 layers, width 12, 9 symbols
    local every_row, target_rows = 12 + 3, 9 -- times width², of all blocks' 12: the last one's 9 serve the targets
    assert.equal(6 * (every_row * 12 ^ 2 * 100 + (target_rows * 12 ^ 2 + 9 * 12) * 40),
                 model:training_flops(100, 40, 0))
    assert.equal(6 * 2 * 12 * 900, model:training_flops(0, 0, 900))
    local packed = batch.new()
    packed:pack(data.train, ids_of { 0, 1 }, 2, removal.cut(removing, data, 0))
    assert.same({
      examples = 2, tokens = 6 + 17, targets = 4 + 12, pairs = 6 ^ 2 + 17 ^ 2, -- question, CoT, answer, four separators
      prompt_tokens = 2 + 5, prompt_pairs = 2 ^ 2 + 5 ^ 2, pauses = 0, -- question <eos>
    }, packed:shape())
    assert.equal(model:training_flops(23, 16, 6 ^ 2 + 17 ^ 2), model:step_flops(packed:shape()))
    packed:free()
    model:free()
  end)
end)

-- ---- Training steps, as the trainer takes them ----------------------------------------------------

-- Trains a tiny model on 2 x 2 multiplication; calls after(step, loss) after each update.
local function train(options, after)
  local data = tasks.load { task = 'multiplication', digits = 2, train = 100, valid = 5, test = 5 }
  local model = tiny.model(data, { seed = options.seed, dropout = options.dropout, layers = 1 })
  local examples = sampler.new(data.train:size(), 8, options.seed)
  local optimizer, packed = optim.AdamW(model:parameters(), { lr = 3e-3 }), batch.new()
  for step = 0, options.steps - 1 do
    local ids, n = examples:at(step)
    local draw = { seed = options.seed, step = step }
    packed:pack(data.train, ids, n, removal.cut(removing, data, math.floor(step / 30), draw))
    local value = scope.run(function()
      local loss = model:loss(packed, options.dropout and draw)
      loss:backward()
      optimizer:step { grad_scale = optim.clip_scale(optimizer:grad_norm(), 1) }
      optimizer:zero_grad()
      return loss:item()
    end)
    after(step + 1, value)
  end
  local weights = model.transformer.wte.weight:totable()
  packed:free()
  optimizer:free()
  model:free()
  data:free()
  return weights
end

describe('training', function()
  it('needs no more memory in step 200 than in step 2, with the collector stopped', function()
    collectgarbage('stop')
    local live = {}
    local ok, problem = pcall(train, { seed = 1, steps = 200, dropout = 0.1 }, function(step)
      live[step] = core.memory().live
    end)
    collectgarbage('restart')
    assert(ok, problem)
    assert.equal(live[2], live[200])
    assert.equal(live[2], math.max(unpack(live, 2)))
  end)

  it('gives everything back at its end', function()
    local function nothing() end
    train({ seed = 1, steps = 2 }, nothing) -- the engine's own tables have their size after this
    for _ = 1, 2 do collectgarbage() end -- what earlier tests left to the collector
    collectgarbage('stop')
    local before = core.memory().live
    local ok, problem = pcall(train, { seed = 1, steps = 2 }, nothing)
    collectgarbage('restart')
    assert(ok, problem)
    assert.equal(before, core.memory().live)
  end)

  it('gives the same bits for the same seed, and others for another', function()
    local runs = {}
    for i, seed in ipairs { 1, 1, 2 } do
      local losses = {}
      local weights = train({ seed = seed, steps = 30, dropout = 0.1 }, function(step, loss) losses[step] = loss end)
      runs[i] = { losses, weights }
    end
    assert.same(runs[1], runs[2])
    assert.not_same(runs[1][1], runs[3][1])
  end)

  it('learns', function()
    local losses = {}
    train({ seed = 1, steps = 150 }, function(step, loss) losses[step] = loss end)
    assert(losses[150] < 0.6 * losses[1], ('the loss went from %g to %g'):format(losses[1], losses[150]))
  end)
end)
