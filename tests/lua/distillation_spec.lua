--- icot.distillation: a teacher's states, the student that reads them, the emulator that predicts them, both coupled.
local batch = require 'icot.text.batch'
local distillation = require 'icot.model.distillation.model'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local generate = require 'icot.gpt2.generate'
local gradients = require 'tests.lua.support.gradients'
local model_file = require 'icot.model.model_file'
local optim = require 'icot.training.optim'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local rows = require 'icot.tensor.rows'
local states = require 'icot.model.distillation.states'
local temporary = require 'tests.lua.support.temporary'
local tensor = require 'icot.tensor'
local tiny = require 'tests.lua.support.tiny'

local data = tiny.dataset()
local removing = { side = 'left', positions = 'closed_up' }
local LAYERS = 3

-- All six ragged examples without CoT, and with all of it beside them; or their questions alone.
local function packed_batch(kind)
  local packed, ids = batch.new(), ffi.new('int64_t[6]', 3, 0, 5, 1, 4, 2)
  packed[kind or 'pack'](packed, data.train, ids, 6, removal.cut(removing, data, math.huge),
                         removal.cut(removing, data, 0))
  return packed
end

local function save(folder, model)
  require('icot.base.files').make_folder(folder)
  model_file.save(folder, model, data.vocabulary)
end

-- The model of a step. What it starts from lies in folders below `folder`, where a tiny teacher is made first.
local function make(folder, step, options)
  options = options or {}
  local from = {
    teacher = step ~= 'coupled' and folder .. '/teacher' or nil,
    networks = step == 'emulator' and folder .. '/student' or step == 'coupled' and folder .. '/emulator' or nil,
  }
  return distillation.make({
    seed = 1,
    model = { layers = LAYERS, heads = 2, width = 12, dropout = options.dropout or 0, initializer_range = 0.4 },
    train = { activation_checkpointing = options.activation_checkpointing or false },
    distillation = { step = step, mixture = options.mixture or 3, temperature = 0.5, from = from },
  }, data, options.from)
end

-- Makes the models of all steps up to one, and leaves the others in their folders.
local function chain_up_to(last, options)
  local folder = temporary.folder()
  local teacher = tiny.model(data, { seed = 7, layers = LAYERS })
  save(folder .. '/teacher', teacher)
  teacher:free()
  for _, step in ipairs { 'student', 'emulator', 'coupled' } do
    local made = make(folder, step, options)
    if step == last then return made, folder end
    save(folder .. '/' .. step, made)
    made:free()
  end
end

local function read_all(tensors)
  local lists = {}
  for i, each in ipairs(tensors) do lists[i] = each:totable() end
  return lists
end

local function assert_near(expected, got, tolerance)
  assert.equal(#expected, #got)
  for i, row in ipairs(expected) do
    local distance = tiny.distance(row, got[i])
    assert(distance < (tolerance or 1e-5), ('row %d differs by %g'):format(i, distance))
  end
end

describe('the emulator', function()
  after_each(temporary.clean)

  it('is trained on the mean of the squared errors of all layers', function()
    local model, packed = chain_up_to 'emulator', packed_batch()
    scope.run(scope.no_grad, function()
      local predicted, wanted = model.emulator:predict(packed), states.of_teacher(model.teacher, packed.explicit)
      local sum, count = 0, 0
      for layer = 1, LAYERS do
        local one, n = predicted[layer]:read()
        local other = wanted[layer]:read()
        for i = 0, n - 1 do sum, count = sum + (one[i] - other[i]) ^ 2, count + 1 end
      end
      assert.near(sum / count, model:loss(packed):item(), 1e-5 * sum / count)
    end)
    packed:free()
    model:free()
  end)

  it('chooses the more sharply the lower its temperature', function()
    local model, packed = chain_up_to 'emulator', packed_batch()
    local emulator = model.emulator
    scope.run(scope.no_grad, function()
      local function predict(temperature)
        emulator.temperature = temperature
        return read_all(emulator:predict(packed))
      end
      local sharp, flat = predict(0.5), predict(1e6)
      assert.is_true(tiny.distance(sharp[1][1], flat[1][1]) > 1e-4)
      local weight = emulator.mixture.weight
      weight:write(weight:mean(0, true):expand(weight:size(0), weight:size(1)):contiguous():read())
      local of_mean = predict(0.5) -- all are the same then, and so is what is chosen
      for layer = 1, LAYERS do assert_near(of_mean[layer], flat[layer]) end
    end)
    packed:free()
    model:free()
  end)

  it('does not begin as the student did', function()
    local model = chain_up_to 'emulator'
    local function embeddings(network) return network.gpt2.transformer.wte.weight:totable() end
    assert.not_same(embeddings(model.student), embeddings(model.emulator))
    model:free()
  end)

  it('does not drop the same things as the student', function()
    local model, packed = chain_up_to('coupled', { dropout = 0.1 }), packed_batch()
    local seen, given = {}, { seed = 5, step = 9 }
    for name, network in pairs { student = model.student, emulator = model.emulator } do
      local hidden = network.gpt2.hidden
      network.gpt2.hidden = function(self, tokens, positions, context, wanted)
        seen[name] = context.dropout
        return hidden(self, tokens, positions, context, wanted)
      end
    end
    scope.run(scope.no_grad, function() model:loss(packed, given) end)
    assert.same({ 9, 9 }, { seen.student.step, seen.emulator.step })
    assert.equal(5, seen.student.seed)
    assert.not_equal(5, seen.emulator.seed)
    packed:free()
    model:free()
  end)
end)

describe('the diagonal', function()
  it('leads from the first token of a CoT to its last', function()
    local function positions(layers, length)
      local list = {}
      for layer = 1, layers do list[layer] = states.diagonal(layer, layers, length) end
      return list
    end
    assert.same({ 0, 3, 6, 9 }, positions(4, 10))
    assert.same({ 0, 1, 1, 2 }, positions(4, 3)) -- 0, 0.67, 1.33, 2
    assert.same({ 0, 8, 15, 23 }, positions(4, 24)) -- 7.67, 15.33
    assert.same({ 0, 0, 0 }, positions(3, 1))
    assert.same({ -1, -1 }, positions(2, 0)) -- the <eos> before it
    assert.same({ 0 }, positions(1, 9))
  end)

  it('is read from each example as if it were alone, whatever the length of its CoT', function()
    local teacher, packed = tiny.model(data, { layers = LAYERS }), packed_batch()
    scope.run(scope.no_grad, function()
      local found = read_all(states.of_teacher(teacher, packed.explicit))
      for b, id in ipairs { 3, 0, 5, 1, 4, 2 } do
        local question, cot, answer = unpack(tiny.lengths[id + 1])
        local alone, entering = batch.new(), {}
        alone:pack(data.train, ffi.new('int64_t[1]', id), 1, removal.cut(removing, data, 0))
        local inputs = alone:tensors()
        teacher:hidden(inputs.tokens, inputs.positions, {
          cu_seqlens = inputs.cu_seqlens, watch = function(_, output) entering[#entering + 1] = output end,
        })
        assert.equal(question + cot + answer + 4, alone:tokens())
        for layer = 1, LAYERS do -- what comes out of the embeddings, or of the block before
          local row = cot == 0 and question or question + 1 + math.floor((layer - 1) * (cot - 1) / (LAYERS - 1) + 0.5)
          assert_near({ entering[layer]:totable()[row + 1] }, { found[layer][b] })
        end
        alone:free()
      end
    end)
    packed:free()
    teacher:free()
  end)
end)

describe('rows', function()
  it('are replaced, and gradients go to what is there', function()
    scope.run(function()
      local x, new = tensor.ones({ 4, 2 }):requires_grad_(), tensor.full({ 2, 2 }, 7):requires_grad_()
      local replaced = rows.replacer(4, { 3, 1 })(x, new * tensor.new { { 1, 2 }, { 3, 4 } })
      assert.same({ { 1, 1 }, { 21, 28 }, { 1, 1 }, { 7, 14 } }, replaced:totable())
      local sum = replaced:sum()
      sum:backward()
      assert.same({ { 1, 1 }, { 0, 0 }, { 1, 1 }, { 0, 0 } }, x:grad():totable())
      assert.same({ { 1, 2 }, { 3, 4 } }, new:grad():totable())
    end)
  end)
end)

describe('the model of a step', function()
  after_each(temporary.clean)

  -- What nothing reads: the emulator's last block, and what answers in a plain GPT-2.
  local function is_idle(name)
    return name:find('^emulator%.gpt2%.transformer%.h%.' .. LAYERS - 1) ~= nil
      or name:find('^emulator%.gpt2%.transformer%.ln_f') ~= nil
  end

  for _, step in ipairs { 'student', 'emulator', 'coupled' } do
    it(('%s has the gradients of finite differences, of all that it trains'):format(step), function()
      local model, packed = chain_up_to(step), packed_batch()
      local unreached, named, counts = {}, model:named_parameters(), { student = 0, emulator = 0 }
      for _, each in ipairs(named) do
        unreached[each.name] = is_idle(each.name)
        local network = each.name:match('^%w+')
        counts[network] = counts[network] + 1
      end
      assert.equal(step ~= 'emulator', counts.student > 0)
      assert.equal(step ~= 'student', counts.emulator > 0)
      gradients.check(named, function() return (model:loss(packed)) end, unreached)
      packed:free()
      model:free()
    end)

    it(('%s has the same loss and gradients in parts, and with activation checkpointing'):format(step), function()
      local packed = packed_batch()
      local function learn(count, options)
        local model = chain_up_to(step, options)
        local optimizer, loss, found = optim.AdamW(model:parameters()), 0, {}
        for _, part in ipairs(packed:parts(count)) do
          scope.run(function()
            local mean = model:loss(part, { seed = 4, step = 2 })
            local weighted = mean * (model:loss_terms(part) / model:loss_terms(packed))
            loss = loss + weighted:item()
            weighted:backward()
          end)
        end
        for i, parameter in ipairs(model:parameters()) do
          found[i] = scope.run(function()
            local gradient = parameter:grad()
            return gradient and gradient:reshape(gradient:numel()):totable() or {}
          end)
        end
        optimizer:free()
        model:free()
        return loss, found
      end
      local loss, whole = learn(1, { dropout = 0.2 })
      local loss_without = learn(1, { dropout = 0 })
      assert.is_true(math.abs(loss - loss_without) > 1e-4) -- something was dropped
      local loss_in_parts, in_parts = learn(4, { dropout = 0.2 })
      assert.near(loss, loss_in_parts, 1e-5 * (1 + loss))
      assert_near(whole, in_parts, 1e-4)
      local loss_again, again = learn(1, { dropout = 0.2, activation_checkpointing = true })
      assert.equal(loss, loss_again)
      assert.same(whole, again)
      packed:free()
    end)

    it(('%s comes back from its folder, and its first loss from the same seed'):format(step), function()
      local model, folder = chain_up_to(step)
      local packed = packed_batch()
      local function loss_of(each) return scope.run(scope.no_grad, function() return each:loss(packed):item() end) end
      local loss = loss_of(model)
      save(folder .. '/kept', model)
      model:free()
      local anew, resumed = make(folder, step), make(folder, step, { from = folder .. '/kept' })
      assert.equal(loss, loss_of(anew))
      assert.equal(loss, loss_of(resumed))
      assert.same(anew:count_parameters(), resumed:count_parameters())
      local loaded = distillation.load({ distillation = {
        step = step, mixture = 3, temperature = 0.5, from = { teacher = folder .. '/teacher' },
      } }, folder .. '/kept')
      assert.equal(loss, loss_of(loaded))
      for _, each in ipairs { anew, resumed, loaded } do each:free() end
      packed:free()
    end)
  end

  it('emulator reads the question and nothing else', function()
    local model, whole, prompts = chain_up_to('emulator'), packed_batch(), packed_batch('prompts')
    scope.run(scope.no_grad, function()
      local from_whole, from_prompts = model.emulator:predict(whole), model.emulator:predict(prompts)
      assert.equal(LAYERS, #from_whole)
      for layer = 1, LAYERS do assert_near(from_whole[layer]:totable(), from_prompts[layer]:totable()) end
      local parts = whole:parts(3)
      local second = from_whole[2]:totable()
      assert_near({ second[3], second[4] }, model.emulator:predict(parts[2])[2]:totable())
    end)
    for _, each in ipairs { whole, prompts, model } do each:free() end
  end)

  it('emulator learns the states, and the student does not change meanwhile', function()
    local model, packed = chain_up_to('emulator'), packed_batch()
    local optimizer, before, first, last = optim.AdamW(model:parameters(), { lr = 1e-2 }), {}, nil, nil
    for i, each in ipairs(model.student:parameters()) do before[i] = each:detach():totable() end
    for _ = 1, 200 do
      scope.run(function()
        local loss, logits = model:loss(packed)
        assert.is_nil(logits)
        loss:backward()
        first, last = first or loss:item(), loss:item()
      end)
      optimizer:step()
      optimizer:zero_grad()
    end
    assert(last < first / 50, ('the loss went from %g to %g'):format(first, last))
    for i, each in ipairs(model.student:parameters()) do assert.same(before[i], each:detach():totable()) end
    for _, each in ipairs { optimizer, packed, model } do each:free() end
  end)

  -- Prompts as lists.
  local function unpacked(prompts)
    local raw, list = prompts.raw, {}
    for b = 1, prompts:examples() do
      list[b] = { tokens = {}, positions = {} }
      for at = raw.cu_seqlens[b - 1], raw.cu_seqlens[b] - 1 do
        table.insert(list[b].tokens, raw.tokens[at])
        table.insert(list[b].positions, raw.positions[at])
      end
    end
    return list
  end

  -- One token more for each text, from all tokens before it. `given`: projected states for the <eos> of each prompt.
  local function write_one(student, prompts, texts, given)
    local tokens, positions, starts, eos_rows, last = {}, {}, { 0 }, {}, {}
    for b, prompt in ipairs(prompts) do
      eos_rows[b] = starts[b] + #prompt.tokens - 1
      for i = 1, #prompt.tokens + #texts[b] do
        local written = i - #prompt.tokens
        tokens[#tokens + 1] = prompt.tokens[i] or texts[b][written]
        positions[#positions + 1] = prompt.positions[i] or prompt.positions[#prompt.positions] + written
      end
      starts[b + 1], last[b] = #tokens, #tokens - 1
    end
    local replace = rows.replacer(#tokens, eos_rows)
    local hidden = student.gpt2:hidden(rows.ints(tokens), rows.ints(positions), {
      cu_seqlens = rows.ints(starts), enter = function(layer, x) return replace(x, given[layer]) end,
    }, rows.ints(last))
    for b, best in ipairs(student.gpt2:logits(hidden):argmax():totable()) do table.insert(texts[b], best) end
  end

  for _, step in ipairs { 'student', 'coupled' } do
    it(('%s writes with its cache what it would without'):format(step), function()
      local model, prompts = chain_up_to(step), packed_batch('prompts')
      scope.run(scope.no_grad, function()
        local writer, enter = model:decoding(prompts)
        local list, slowly, given = unpacked(prompts), {}, {}
        local read = model.emulator and model.emulator:predict(prompts)
          or states.of_teacher(model.teacher, prompts.explicit)
        for layer = 1, LAYERS do given[layer] = model.student.projections[layer](read[layer]) end
        for b = 1, #list do slowly[b] = {} end
        for _ = 1, 5 do write_one(model.student, list, slowly, given) end
        local function greedy(hook)
          return generate.greedy(writer, list, { max_new_tokens = 5, is_finished = function() end, enter = hook })
        end
        assert.same(slowly, greedy(enter))
        assert.not_same(slowly, greedy(nil))
      end)
      for _, each in ipairs { prompts, model } do each:free() end
    end)
  end

  it('counts the operations of all networks that take part', function()
    local packed = packed_batch()
    local shape, flops = packed:shape(), {}
    for _, step in ipairs { 'student', 'emulator', 'coupled' } do
      local model = chain_up_to(step)
      flops[step] = model:step_flops(shape)
      model:free()
    end
    local width, blocks = 12, LAYERS - 1
    local teacher = blocks * (24 * width ^ 2 * shape.explicit.tokens + 2 * width * shape.explicit.pairs)
    local plain = tiny.model(data, { layers = LAYERS })
    assert.equal(plain:step_flops(shape) + 6 * LAYERS * 8 * width ^ 2 * 6 + teacher, flops.student)
    local emulator = 3 * blocks * (24 * width ^ 2 * shape.prompt_tokens + 2 * width * shape.prompt_pairs)
      + 6 * 6 * (LAYERS * (12 * width ^ 2 + 2 * 3 * width) + blocks * 12 * width ^ 2)
    assert.equal(emulator + teacher, flops.emulator)
    assert.equal(flops.student + flops.emulator - 2 * teacher, flops.coupled)
    for _, each in ipairs { packed, plain } do each:free() end
  end)

  it('refuses a teacher of another size, and a folder that lacks its networks', function()
    local model, folder = chain_up_to('student')
    model:free()
    local other = tiny.model(data, { layers = 2 })
    save(folder .. '/teacher', other)
    other:free()
    expect.mentions(expect.user_error(make, folder, 'student'), 'has 2 layers of width 12, but the student has 3')
    os.execute(('mv %s/teacher %s/student'):format(folder, folder))
    expect.mentions(expect.user_error(make, folder, 'emulator'), folder .. '/student/distillation.safetensors')
    expect.mentions(expect.user_error(distillation.load, {}, folder), "checkpoint.json doesn't say which networks")
  end)
end)
