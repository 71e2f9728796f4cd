--- Continuous thoughts: what they are made of, that training and decoding have the same, and that gradients flow
--- through them.
local Coconut = require 'icot.model.coconut.model'
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
local generate = require 'icot.gpt2.generate'
local gradients = require 'tests.lua.support.gradients'
local optim = require 'icot.training.optim'
local passes = require 'icot.model.coconut.passes'
local probed = require 'icot.probe.states'
local removal = require 'icot.text.removal'
local rows = require 'icot.tensor.rows'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'
local tiny = require 'tests.lua.support.tiny'

-- A dataset with a symbol for pauses, and room for thoughts.
local function thoughtful()
  local data = tiny.dataset()
  data.vocabulary = data.vocabulary:with_pause()
  data:make_room(function(corpus, i) return select(2, corpus:lengths(i)) + 12 end)
  return data
end

local data = thoughtful()

local function cut(removed, options, draw)
  local given = { side = 'left', positions = 'closed_up', smoothing = false, thoughts = 2 }
  for name, value in pairs(options or {}) do given[name] = value end
  return removal.cut(given, data, removed, draw)
end

-- Offsets, so that the examples of a batch have different numbers of thoughts.
local function ragged()
  return cut(1, { smoothing = 0.7, most_thoughts = 5 }, { seed = 5, step = 2 })
end

local N = #tiny.lengths

local function with_batch(its_cut, body)
  return batch.with(function(packed)
    packed:pack(data.train, batch.ids(0, N), N, its_cut)
    return body(packed)
  end)
end

local function with_model(options, body)
  local model = Coconut.new(tiny.model(data, options))
  body(model)
  model:free()
end

local function list_of(numbers, first, last)
  local list = {}
  for i = first, last - 1 do list[#list + 1] = numbers[i] end
  return list
end

-- The sequence of an example, its thoughts given: hidden states of all its rows, (T, width), by a GPT-2 alone.
local function hidden_given(gpt2, tokens, positions, eos, thoughts)
  local enter
  if #thoughts > 0 then
    local places, at = {}, {}
    for j = 1, #thoughts do places[j], at[j] = eos + j, positions[eos + j + 1] end
    local entering = gpt2:thoughts(tensor.concat(thoughts, 0), rows.ints(at))
    local replace = rows.replacer(#tokens, places)
    enter = function(layer, x) return layer == 1 and replace(x, entering) or x end
  end
  return gpt2:hidden(rows.ints(tokens), rows.ints(positions), { cu_seqlens = rows.ints { 0, #tokens }, enter = enter })
end

-- The same with its own thoughts, one after the other, each from a pass over all before it.
local function hidden_slowly(gpt2, tokens, positions, eos, count)
  local thoughts = {}
  for j = 1, count do
    local read, at = list_of(tokens, 1, eos + j + 1), list_of(positions, 1, eos + j + 1)
    local before = hidden_given(gpt2, read, at, eos, thoughts)
    thoughts[j] = before:embedding(rows.ints { eos + j - 1 })
  end
  return hidden_given(gpt2, tokens, positions, eos, thoughts)
end

-- The loss of a batch, sequence by sequence.
local function loss_slowly(gpt2, packed)
  local raw, states, targets, t = packed.raw, {}, {}, 0
  for b = 0, N - 1 do
    local start, stop = raw.cu_seqlens[b], raw.cu_seqlens[b + 1]
    local hidden = hidden_slowly(gpt2, list_of(raw.tokens, start, stop), list_of(raw.positions, start, stop),
                                 raw.eos_rows[b] - start, raw.pauses[b])
    local wanted = {}
    while t < raw.n_targets and raw.target_rows[t] < stop do
      wanted[#wanted + 1], targets[t + 1], t = raw.target_rows[t] - start, raw.targets[t], t + 1
    end
    states[b + 1] = hidden:embedding(rows.ints(wanted))
  end
  return gpt2:logits(tensor.concat(states, 0)):cross_entropy(rows.ints(targets))
end

-- Loss and gradients of what a function gives.
local function computed(model, loss_of)
  local optimizer = optim.AdamW(model:parameters(), { lr = 1e-3 }) -- it can clear gradients
  local found = scope.run(function()
    local loss = loss_of()
    loss:backward()
    local found = { loss:item() }
    for _, each in ipairs(model:named_parameters()) do
      local values, n = each.tensor:grad():read()
      for i = 0, n - 1 do found[#found + 1] = values[i] end
    end
    return found
  end)
  optimizer:zero_grad()
  optimizer:free()
  return found
end

describe('the passes of a batch with thoughts', function()
  it('compute each row once, thoughts one after the other', function()
    with_batch(cut(1, { most_thoughts = 2 }), function(packed)
      local list = passes.of(packed)
      assert.equal(3, #list)
      local times = {}
      for p, pass in ipairs(list) do
        for _, row in ipairs(pass.rows) do times[row] = (times[row] or 0) + 1 end
        assert.equal(p == 1 and 0 or N, #pass.thoughts)
        assert.equal(p == 3 and 0 or N, #pass.last_rows)
        assert.same({ N + 1, N, N }, { #pass.cu_seqlens, #pass.starts, #pass.lengths })
        assert.equal(#pass.rows, pass.cu_seqlens[N + 1])
      end
      for row = 0, packed:tokens() - 1 do assert.equal(1, times[row]) end
      -- the first example: question <eos> thought thought <eos> …
      assert.same({ 0, 1, 2 }, { list[1].rows[1], list[1].rows[2], list[2].rows[1] })
      assert.same({ 3, 4 }, { list[3].rows[1], list[3].rows[2] })
    end)
  end)

  it('are one alone where nothing was removed', function()
    with_batch(cut(0), function(packed)
      local list = passes.of(packed)
      assert.same({ 1, packed:tokens() }, { #list, #list[1].rows })
    end)
  end)

  it('are counted for a part as for the whole', function()
    with_batch(ragged(), function(packed)
      local whole, rows_before = passes.of(packed), {}
      for _, part in ipairs(packed:parts(3)) do
        local list = passes.of(part)
        assert.equal(#whole, #list)
        for p, pass in ipairs(list) do
          assert.equal(rows_before[p] or 0, pass.before.rows)
          rows_before[p] = pass.before.rows + #pass.rows
        end
      end
      for p, pass in ipairs(whole) do assert.equal(#pass.rows, rows_before[p]) end
    end)
  end)
end)

describe('a model in thought', function()
  it('has the loss and the gradients of one sequence after the other, each thought from a pass of its own', function()
    with_model({ layers = 2 }, function(model)
      for _, its_cut in ipairs { cut(1), cut(3, { thoughts = 1 }), ragged(), cut(math.huge, { most_thoughts = 3 }) } do
        with_batch(its_cut, function(packed)
          local quick = computed(model, function() return (model:loss(packed)) end)
          local slow = computed(model, function() return loss_slowly(model.gpt2, packed) end)
          assert(#quick > 1000)
          local apart = tiny.distance(quick, slow)
          assert(apart < 2e-5, ('largest difference %g'):format(apart))
        end)
      end
    end)
  end)

  it('has gradients that finite differences confirm', function()
    with_model({ layers = 2 }, function(model)
      with_batch(ragged(), function(packed)
        gradients.check(model:named_parameters(), function() return (model:loss(packed)) end)
      end)
    end)
  end)

  it('is a GPT-2 where it has no thoughts', function()
    with_model({ dropout = 0.3 }, function(model)
      with_batch(cut(0), function(packed)
        local dropout = { seed = 3, step = 8 }
        local mine = computed(model, function() return (model:loss(packed, dropout)) end)
        assert.same(computed(model, function() return (model.gpt2:loss(packed, dropout)) end), mine)
      end)
    end)
  end)

  it('learns the same from a batch in parts, with dropout too', function()
    with_model({ dropout = 0.3 }, function(model)
      with_batch(ragged(), function(packed)
        local dropout = { seed = 3, step = 8 }
        local whole = computed(model, function() return (model:loss(packed, dropout)) end)
        assert.same(whole, computed(model, function() return (model:loss(packed, dropout)) end))
        for _, count in ipairs { 2, 4 } do
          local in_parts = computed(model, function()
            local sum
            for _, part in ipairs(packed:parts(count)) do
              local loss = model:loss(part, dropout) * (part:targets() / packed:targets())
              sum = sum and sum + loss or loss
            end
            return sum
          end)
          local apart = tiny.distance(whole, in_parts)
          assert(apart < 2e-5, ('largest difference %g'):format(apart))
        end
        local without = computed(model, function() return (model:loss(packed)) end)
        assert(math.abs(without[1] - whole[1]) > 1e-3)
        local other = computed(model, function() return (model:loss(packed, { seed = 3, step = 9 })) end)
        assert(math.abs(other[1] - whole[1]) > 1e-3)
      end)
    end)
  end)

  it('learns the same where blocks are computed again in backward, with less memory', function()
    with_model({ layers = 6, dropout = 0.3 }, function(model)
      with_batch(cut(6), function(packed)
        local function peak_of(its_loss)
          core.C.icot_memory_reset_peak()
          local before = core.memory().live
          local found = computed(model, function() return (its_loss(packed, { seed = 3, step = 8 })) end)
          return core.memory().peak - before, found
        end
        local function loss(...) return model:loss(...) end
        local plain, expected = peak_of(loss)
        model.gpt2.activation_checkpointing = true
        local again, found = peak_of(loss)
        assert.same(expected, found)
        assert(again < 0.8 * plain, ('%d and %d bytes'):format(again, plain))
      end)
    end)
  end)

  it('shows states in one pass that are those of all its passes', function()
    with_model({ layers = 2 }, function(model)
      with_batch(ragged(), function(packed)
        scope.run(scope.no_grad, function()
          local inputs, raw = packed:tensors(), packed.raw
          local all = model.gpt2:hidden(inputs.tokens, inputs.positions, {
            cu_seqlens = inputs.cu_seqlens, enter = model:thinking(packed),
          }):totable()
          for b = 0, N - 1 do
            local start, stop = raw.cu_seqlens[b], raw.cu_seqlens[b + 1]
            local slow = hidden_slowly(model.gpt2, list_of(raw.tokens, start, stop),
                                       list_of(raw.positions, start, stop), raw.eos_rows[b] - start, raw.pauses[b])
            for row, state in ipairs(slow:totable()) do
              assert(tiny.distance(all[start + row], state) < 1e-4)
            end
          end
        end)
      end)
      with_batch(cut(0), function(packed) assert.is_nil(model:thinking(packed)) end)
    end)
  end)

  it('shows probes what enters the first block: thoughts, too', function()
    with_model({ layers = 2 }, function(model)
      with_batch(ragged(), function(packed)
        scope.run(scope.no_grad, function()
          local inputs, raw, entered = packed:tensors(), packed.raw, nil
          probed.each(model, packed, function(layer, x)
            if layer == 0 then entered = x:totable() end
          end)
          local states = model.gpt2:hidden(inputs.tokens, inputs.positions, {
            cu_seqlens = inputs.cu_seqlens, enter = model:thinking(packed),
          })
          local next_positions, count = list_of(raw.positions, 1, packed:tokens()), 0
          next_positions[packed:tokens()] = 0
          local thoughts = model.gpt2:thoughts(states, rows.ints(next_positions)):totable()
          for b = 0, N - 1 do
            for row = raw.eos_rows[b] + 1, raw.eos_rows[b] + raw.pauses[b] do
              assert(tiny.distance(thoughts[row], entered[row + 1]) < 1e-4) -- (lists count from 1)
              count = count + 1
            end
          end
          assert(count > N)
        end)
      end)
    end)
  end)

  it('keeps little of its passes where no gradients are wanted', function()
    with_model({ layers = 2 }, function(model)
      with_batch(cut(6), function(packed)
        local function peak(of)
          core.C.icot_memory_reset_peak()
          scope.run(scope.no_grad, function() of:loss(packed) end)
          return core.memory().peak - core.memory().live
        end
        local thinking, plain = peak(model), peak(model.gpt2)
        assert(thinking < 4 * plain, ('%d and %d bytes'):format(thinking, plain))
      end)
    end)
  end)

  it('counts each row once, and the last block of those whose states are thoughts', function()
    with_model({}, function(model)
      with_batch(cut(2), function(packed)
        local shape = packed:shape()
        assert.equal(4 * N, shape.pauses)
        assert.equal(model.gpt2:step_flops(shape) + 54 * 12 ^ 2 * 4 * N, model:step_flops(shape))
      end)
    end)
  end)
end)

describe('decoding with thoughts', function()
  -- What is written after `count` thoughts, without a cache.
  local function write_slowly(gpt2, tokens, positions, count, length)
    local eos, written = #tokens - 1, {}
    for _ = 1, count do
      tokens[#tokens + 1], positions[#positions + 1] = data.vocabulary.pause, positions[#positions] + 1
    end
    for _ = 1, length do
      local hidden = hidden_slowly(gpt2, tokens, positions, eos, count)
      local best = gpt2:logits(hidden:embedding(rows.ints { #tokens - 1 })):argmax():totable()[1]
      written[#written + 1] = best
      tokens[#tokens + 1], positions[#positions + 1] = best, positions[#positions] + 1
    end
    return written
  end

  local function prompts_with(counts)
    local prompts = {}
    for i, count in ipairs(counts) do
      prompts[i] = { tokens = {}, positions = {}, thoughts = count }
      for k = 1, 2 + i % 3 do
        prompts[i].tokens[k], prompts[i].positions[k] = 2 + (3 * i + k * k) % 7, k - 1
      end
    end
    return prompts
  end

  it('writes what recomputing everything would, however many thoughts each prompt has', function()
    with_model({ layers = 2 }, function(model)
      local counts = { 3, 0, 1, 5, 0, 2 }
      local function decode()
        return generate.greedy(model:decoding(), prompts_with(counts),
                               { max_new_tokens = 6, is_finished = function() return false end })
      end
      decode() -- packed weights stay
      local live = core.memory().live
      local found = decode()
      assert.equal(live, core.memory().live)
      scope.run(scope.no_grad, function()
        for i, prompt in ipairs(prompts_with(counts)) do
          assert.same(write_slowly(model.gpt2, prompt.tokens, prompt.positions, counts[i], 6), found[i])
        end
      end)
      local thoughtless = generate.greedy(model:decoding(), prompts_with { 0, 0, 0, 0, 0, 0 },
                                          { max_new_tokens = 6, is_finished = function() return false end })
      assert.not_same(thoughtless, found)
    end)
  end)

  it('ends where the context does, in the middle of a thought too', function()
    with_model({}, function(model)
      local context = model.gpt2.config.context
      local found = generate.greedy(model:decoding(), prompts_with { context, context - 5 },
                                    { max_new_tokens = 100, is_finished = function() return false end })
      assert.equal(0, #found[1])
      assert.equal(2, #found[2]) -- 4 tokens, context - 5 thoughts: one position is left, which one token is read at
    end)
  end)
end)
