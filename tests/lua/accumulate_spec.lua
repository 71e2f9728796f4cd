--- Gradient accumulation: a batch in parts has the loss, the gradients and the random numbers of the whole.
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
local deferred = require 'icot.engine.deferred'
local evaluate = require 'icot.training.evaluate'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local optim = require 'icot.training.optim'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local tiny = require 'tests.lua.support.tiny'
local training = require 'icot.training'

local removing = { side = 'left', smoothing = 0.5, positions = 'closed_up' }

-- The six ragged examples of the tiny dataset, packed with random offsets.
local function packed_batch(data)
  local packed, ids = batch.new(), ffi.new('int64_t[6]', 3, 0, 5, 1, 4, 2)
  packed:pack(data.train, ids, 6, removal.cut(removing, data, 1, { seed = 7, step = 2 }))
  return packed
end

local function read_list(tensor)
  local values, n = tensor:read()
  local list = {}
  for i = 1, n do list[i] = values[i - 1] end
  return list
end

-- Loss, hits and gradients of a batch that is computed in `count` parts, as an update does it.
local function learn(model, packed, count, dropout)
  local loss, hits = 0, 0
  for _, part in ipairs(packed:parts(count)) do
    scope.run(function()
      local mean, logits, targets = model:loss(part, dropout)
      local share = part:targets() / packed:targets()
      local found = deferred.collect(function() deferred.hits(logits, targets) end)
      loss, hits = loss + share * mean:item(), hits + found[1]
      local weighted = mean * share
      weighted:backward()
    end)
  end
  local gradients = {}
  for i, parameter in ipairs(model:parameters()) do
    gradients[i] = scope.run(function() return read_list(parameter:grad()) end)
  end
  local optimizer = optim.AdamW(model:parameters())
  optimizer:zero_grad()
  optimizer:free()
  return { loss = loss, hits = hits, gradients = gradients }
end

local function norm(list)
  local sum = 0
  for _, value in ipairs(list) do sum = sum + value ^ 2 end
  return math.sqrt(sum)
end

-- |a - b| / |b| over all parameters together.
local function relative_distance(a, b)
  local difference, whole = {}, {}
  for i = 1, #b do
    for k = 1, #b[i] do
      difference[#difference + 1], whole[#whole + 1] = a[i][k] - b[i][k], b[i][k]
    end
  end
  return norm(difference) / norm(whole)
end

describe('the parts of a batch', function()
  local data, packed = tiny.dataset()
  before_each(function() packed = packed_batch(data) end)
  after_each(function() packed:free() end)

  it('are its sequences, in order, as even as can be', function()
    for count, sizes in ipairs { { 6 }, { 3, 3 }, { 2, 2, 2 }, { 1, 2, 1, 2 }, { 1, 1, 1, 1, 2 },
                                 { 1, 1, 1, 1, 1, 1 } } do
      local parts, examples, tokens, targets = packed:parts(count), 0, 0, 0
      assert.equal(count, #parts)
      for k, part in ipairs(parts) do
        assert.equal(tokens, part.first_token)
        assert.equal(targets, part.first_target)
        assert.equal(sizes[k], tonumber(count == 1 and part.raw.n_examples or part.n_examples))
        scope.run(function()
          local inputs = part:tensors()
          examples = examples + inputs.cu_seqlens:numel() - 1
          tokens, targets = tokens + inputs.tokens:numel(), targets + part:targets()
          assert.equal(part:targets(), inputs.targets:numel())
        end)
      end
      assert.same({ 6, packed:tokens(), packed:targets() }, { examples, tokens, targets })
    end
    assert.equal(6, #packed:parts(100))
  end)

  it('hold what stands in the whole', function()
    local all = { tokens = {}, positions = {}, targets = {}, target_rows = {} }
    for _, part in ipairs(packed:parts(4)) do
      scope.run(function()
        local inputs = part:tensors()
        assert.equal(0, inputs.cu_seqlens:totable()[1])
        for name, list in pairs(all) do
          local before = name == 'target_rows' and part.first_token or 0
          for _, value in ipairs(read_list(inputs[name])) do list[#list + 1] = value + before end
        end
      end)
    end
    local whole = scope.run(function()
      local lists = {}
      for name in pairs(all) do lists[name] = read_list(packed:tensors()[name]) end
      return lists
    end)
    assert.same(whole, all)
  end)

  for _, dropout in ipairs { 0, 0.2 } do
    it(('add up to the loss, hits and gradients of the whole, with dropout = %g'):format(dropout), function()
      local model, draw = tiny.model(data, { dropout = dropout }), { seed = 5, step = 9 }
      local whole = learn(model, packed, 1, draw)
      assert(norm(whole.gradients[1]) > 0)
      for count = 2, 6 do
        local found = learn(model, packed, count, draw)
        assert.near(whole.loss, found.loss, 1e-6 * whole.loss)
        assert.equal(whole.hits, found.hits)
        local distance = relative_distance(found.gradients, whole.gradients)
        assert(distance < 1e-6, ('%d parts: gradients differ by %g'):format(count, distance))
      end
      -- and this is not how any two gradients are: the mean of the parts' means is another number
      local other = learn(model, packed, 1, { seed = 5, step = 10 })
      if dropout > 0 then assert(relative_distance(other.gradients, whole.gradients) > 1e-2) end
      model:free()
    end)
  end

  it('weigh by their targets, not alike', function()
    local means = {}
    local model = tiny.model(data)
    for k, part in ipairs(packed:parts(6)) do
      means[k] = scope.run(scope.no_grad, function() return (model:loss(part)):item() end)
    end
    local sum = 0
    for _, mean in ipairs(means) do sum = sum + mean / 6 end
    assert(math.abs(sum - learn(model, packed, 1).loss) > 1e-3)
    model:free()
  end)
end)

-- Trainings of `updates` updates, and what they cost.
local function trained(updates, settings, model)
  local self = training.new(small.run { settings = settings, model = model })
  for step = 1, updates do self:update(math.floor(step / 4)) end
  local row, totals = self.meter:state().current, self.meter:state()
  local result = { loss = self.state.loss, row = row, tokens = totals.tokens, flops = totals.flops,
                   weights = read_list(self.model.transformer.h[1].mlp.c_fc.weight) }
  self:free()
  return result
end

describe('train.accumulate', function()
  after_each(temporary.clean)

  it('changes nothing but rounding in a training', function()
    local dropout = ', dropout = 0.1'
    local whole = trained(20, {}, dropout)
    for _, count in ipairs { 2, 7, 20 } do
      local parts = trained(20, { 'train.accumulate=' .. count }, dropout)
      assert.equal(whole.tokens, parts.tokens)
      assert.equal(whole.flops, parts.flops)
      assert.equal(whole.row.targets, parts.row.targets)
      assert.near(whole.loss, parts.loss, 1e-4)
      assert.near(whole.row.grad_norm, parts.row.grad_norm, 1e-3 * whole.row.grad_norm)
      assert(tiny.distance(whole.weights, parts.weights) < 1e-4)
    end
  end)

  it('takes a last batch of an epoch that has fewer examples than parts', function()
    local few = { 'train.batch=99', 'dataset.train=100' } -- the second batch has one example
    local whole = trained(2, few)
    few[3] = 'train.accumulate=3'
    assert.near(whole.loss, trained(2, few).loss, 1e-5)
  end)

  it('is the same bits after a resumption', function()
    local wanted = { model = ', dropout = 0.1', folder = temporary.folder(),
                     settings = { 'train.accumulate=3', 'checkpoint.every_steps=7', 'train.batch=13' } }
    local _, whole, path = small.train(wanted)
    local expected = small.model_bytes(path)
    wanted.folder = temporary.folder()
    wanted.progress = setmetatable({
      update = function(_, now) if now.step == 24 then error('stopped') end end,
    }, { __index = small.silent })
    local stopped, problem = small.train(wanted)
    assert.is_false(stopped)
    assert.matches('stopped', tostring(problem))
    wanted.progress = nil
    local ok, result, again = small.train(wanted, { resume = true })
    assert.is_true(ok, tostring(result))
    assert.equal(whole.tokens, result.tokens)
    assert.equal(expected, small.model_bytes(again))
  end)

  it('takes less memory', function()
    local function peak_of(count)
      local self = training.new(small.run {
        settings = { 'train.accumulate=' .. count, 'train.batch=96', 'model.layers=4', 'model.width=32' } })
      self:update(0)
      local before = core.memory().live
      core.C.icot_memory_reset_peak()
      self:update(0)
      assert.equal(before, core.memory().live)
      local above = core.memory().peak - before
      self:free()
      return above
    end
    local whole, parts = peak_of(1), peak_of(4)
    assert(parts < 0.35 * whole, ('%d and %d bytes above what stays'):format(whole, parts))
  end)

  -- What the first update finds, perhaps after something else that the training did.
  local function first_row(settings, before)
    local self = training.new(small.run { settings = settings })
    if before then before(self) end
    self:update(0)
    local row = self.meter:interval()
    self:free()
    return { row.loss, row.token_accuracy, row.grad_norm }
  end

  it('goes on after an update that failed in its second part, as if it had not been', function()
    local parts = { 'train.accumulate=4' }
    assert.same(first_row(parts), first_row(parts, function(self)
      local loss, calls = self.model.loss, 0
      self.model.loss = function(...)
        calls = calls + 1
        return calls == 2 and error('no memory') or loss(...)
      end
      assert.is_false(pcall(self.update, self, 0))
      self.model.loss = nil
    end))
  end)

  it('is not confused by an evaluation that failed on the way', function()
    local hits = deferred.hits
    finally(function() deferred.hits = hits end)
    assert.same(first_row {}, first_row({}, function(self)
      deferred.hits = function() error('no memory') end
      assert.is_false(pcall(evaluate.run, self.model, self.data, 'valid', 0, self.config.removal,
                            self.config.evaluate))
      deferred.hits = hits
    end))
  end)

  it('leaves out an update that went wrong in one of its parts, as a whole', function()
    local self = training.new(small.run { settings = { 'train.accumulate=4', 'divergence.policy=continue' } })
    self.progress = small.silent
    local before, loss = read_list(self.model.transformer.wte.weight), self.model.loss
    for bad = 1, 4 do
      local calls = 0
      self.model.loss = function(...)
        calls = calls + 1
        local mean, logits, targets = loss(...)
        return calls == bad and mean * (0 / 0) or mean, logits, targets
      end
      self:update(0)
    end
    self.model.loss = nil
    assert.equal(4, self.skipped)
    assert.equal(4, self.state.step)
    assert.equal(0, self.optimizer.updates)
    assert.is_true(self.meter:is_empty())
    assert.same(before, read_list(self.model.transformer.wte.weight))
    self:update(0)
    local undisturbed = training.new(small.run { settings = { 'train.accumulate=4' } })
    undisturbed.state.step = 4
    undisturbed:update(0)
    assert.equal(undisturbed.state.loss, self.state.loss)
    assert.same(read_list(undisturbed.model.transformer.wte.weight), read_list(self.model.transformer.wte.weight))
    self:free()
    undisturbed:free()
  end)

  it('is refused where there are more parts than examples', function()
    local problem = expect.user_error(small.run, { settings = { 'train.accumulate=21' } })
    expect.mentions(problem, 'train.accumulate', '21 parts', '20 examples')
    expect.mentions(expect.user_error(small.run, { settings = { 'train.accumulate=0' } }), 'train.accumulate')
  end)
end)
