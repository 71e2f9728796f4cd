--- What `icot probe` is made of: places, hidden states, labels, linear probes, attention maps, the summary.
local attention = require 'icot.probe.attention'
local batch = require 'icot.text.batch'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local kept_stages = require 'icot.saved.kept_stages'
local labels = require 'icot.probe.labels'
local linear_probe = require 'icot.probe.linear_probe'
local places = require 'icot.probe.places'
local random = require 'icot.engine.random'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local states = require 'icot.probe.states'
local summary = require 'icot.probe.summary'
local tasks = require 'icot.data.tasks'
local tensor = require 'icot.tensor'
local tiny = require 'tests.lua.support.tiny'

local function cut_of(data, removed, side)
  return removal.cut({ side = side or 'left', positions = 'kept', smoothing = 4 }, data, removed)
end

describe('the places of sequences', function()
  local data = tiny.dataset { { 2, 3, 1 }, { 1, 3, 2 } }

  local function names(removed, side)
    local shapes = places.shapes(data.test, 2, cut_of(data, removed, side))
    return table.concat(shapes[1].names, ', '), shapes
  end

  it('are named by what stands there, CoT tokens as they are counted before the cut', function()
    assert.equal('question 1, question 2, question <eos>, CoT 1, CoT 2, CoT 3, CoT <eos>, ####, answer 1, answer <eos>',
                 (names(0)))
    assert.equal('question 1, question 2, question <eos>, CoT 2, CoT 3, CoT <eos>, ####, answer 1, answer <eos>',
                 (names(1)))
    assert.equal('question 1, question 2, question <eos>, CoT 1, CoT <eos>, ####, answer 1, answer <eos>',
                 (names(2, 'right')))
    assert.equal('question 1, question 2, question <eos>, CoT 2, CoT <eos>, ####, answer 1, answer <eos>',
                 (names(2, 'both')))
    assert.equal('question 1, question 2, question <eos>, CoT <eos>, ####, answer 1, answer <eos>', (names(math.huge)))
  end)

  it('are those that all examples have', function()
    local _, shapes = names(2)
    assert.same({ 'question 1', 'question <eos>', 'CoT 3', 'CoT <eos>', '####', 'answer 1', 'answer <eos>' },
                places.common(nil, shapes))
    assert.same({ 'answer 1', 'answer <eos>' }, places.common('answer', shapes, shapes))
    assert.same({ 4, 3 }, { shapes[1].position['CoT <eos>'], shapes[2].position['CoT <eos>'] })
    assert.same({}, places.common('CoT 1', shapes))
    places.check('answer', shapes)
    expect.mentions(expect.user_error(places.check, 'anser', shapes), "no place has 'anser' in its name")
  end)

  it('follow the steps of an example where steps are removed', function()
    local sums = tasks.load { task = 'modular_sum', count = 3, train = 0, valid = 0, test = 1 } -- steps of 3 and 2
    local cut = removal.cut({ side = 'left', unit = 'step', positions = 'kept', smoothing = false }, sums, 1)
    assert.equal('CoT 4', places.shapes(sums.test, 1, cut)[1].names[10])
    sums:free()
  end)
end)

describe('hidden states', function()
  local data = tiny.dataset { { 3, 4, 2 }, { 3, 4, 2 }, { 2, 5, 1 } }
  local model = tiny.model(data)
  local cut = cut_of(data, 2)
  local sample = { corpus = data.test, n = 3, cut = cut, shapes = places.shapes(data.test, 3, cut) }

  it('are the residual stream: the last becomes what the model computes', function()
    scope.run(scope.no_grad, function()
      local names = places.common(nil, sample.shapes)
      local found = states.collect(model, sample, names, 0, 2)
      batch.with(function(packed)
        packed:pack(data.test, batch.ids(0, 3), 3, cut)
        local inputs, raw = packed:tensors(), packed.raw
        local hidden = model:hidden(inputs.tokens, inputs.positions, { cu_seqlens = inputs.cu_seqlens })
        local embedded = model.transformer.wte.weight:embedding(inputs.tokens)
          + model.transformer.wpe.weight:embedding(inputs.positions)
        for p, name in ipairs(names) do
          local normed = model.transformer.ln_f(found[2][p]):totable()
          for i = 1, 3 do
            local row = raw.cu_seqlens[i - 1] + sample.shapes[i].position[name]
            assert.is_true(tiny.distance(hidden:totable()[row + 1], normed[i]) < 1e-5, name)
            assert.is_true(tiny.distance(embedded:totable()[row + 1], found[0][p]:totable()[i]) < 1e-6, name)
          end
        end
      end)
    end)
  end)

  it('are gathered for the layers that are asked for', function()
    scope.run(scope.no_grad, function()
      local found = states.collect(model, sample, { '####' }, 1, 1)
      assert.same({ nil, nil }, { found[0], found[2] })
      assert.same({ 3, 12 }, found[1][1]:shape())
    end)
  end)
end)

-- ---- Labels -------------------------------------------------------------------------------------

local function read(given, part)
  local data, task = tasks.load(given), tasks.find(given.task)
  local found = labels.read(data, task, tasks.check(given),
                            { fit = 'valid', held_out = 'test', n_fit = given.valid, n_held_out = given.test }, part)
  return found, data
end

local function quantities(found)
  local names = {}
  for k, column in ipairs(found.columns) do names[k] = column.quantity end
  return names
end

describe('labels', function()
  local given = { task = 'multiplication', digits = 2, train = 0, valid = 60, test = 40 }

  it('are the classes of what differs between examples', function()
    local found, data = read(given)
    assert.same({ 'partial product 1, digit 1', 'partial product 1, digit 2', 'partial product 1, digit 3',
                  'partial product 2, digit 2', 'partial product 2, digit 3', 'partial product 2, digit 4',
                  'product, digit 1', 'product, digit 2', 'product, digit 3', 'product, digit 4' }, quantities(found))
    assert.same({ 10, 60, 40 }, { found.classes, found.n_fit, found.n_held_out })
    local by_class, hits = {}, 0
    for i = 0, 39 do -- the first digit is the first token of the CoT
      local digit = data.test:example(i).cot[1]
      local class = found.held_out[i * 10]
      by_class[class] = by_class[class] or digit
      assert.equal(by_class[class], digit)
      if class == found.fit[0] then hits = hits + 1 end
    end
    assert.is_true(found.columns[1].baseline >= 0 and found.columns[1].baseline <= 1)
    assert.is_true(hits < 40)
    data:free()
  end)

  it('are those that examples of all lengths have', function()
    local found, data = read { task = 'multiplication', digits = { 3, 2 }, digits_from = 2, train = 0, valid = 60,
                               test = 40 }
    local names = table.concat(quantities(found), '; ')
    expect.mentions(names, 'partial product 1, digit 3', 'partial product 2, digit 4', 'product, digit 4')
    assert.is_nil(names:find('digit 5', 1, true))
    data:free()
  end)

  it('are chosen by name', function()
    local found, data = read(given, 'product 2')
    assert.same({ 'partial product 2, digit 2', 'partial product 2, digit 3', 'partial product 2, digit 4' },
                quantities(found))
    data:free()
    expect.mentions(expect.user_error(read, given, 'sum'), "no quantity that varies has 'sum' in its name",
                    'known are: partial product 1, partial product 2, product')
  end)

  it('are the tokens of the CoT where a task names nothing', function()
    local data = tiny.dataset { { 1, 2, 1 }, { 2, 3, 1 }, { 1, 4, 1 }, { 3, 5, 1 } }
    local found = labels.read(data, {}, {}, { fit = 'valid', held_out = 'test', n_fit = 4, n_held_out = 4 })
    assert.same({ 'CoT, token 1', 'CoT, token 2' }, quantities(found))
  end)

  it('have a baseline: the most frequent class of those that are fitted to', function()
    local task = { quantities = function(question) return { { name = 'first', value = question:sub(1, 1) } } end }
    local data = tiny.dataset { { 1, 0, 1 } }
    for _, split in ipairs { 'valid', 'test' } do
      data[split]:free()
      data[split] = require('icot.text.corpus').new(data.vocabulary)
    end
    for _, token in ipairs { 2, 3, 3 } do data.valid:append({ token }, {}, { 2 }) end
    for _, token in ipairs { 2, 2, 2, 3 } do data.test:append({ token }, {}, { 2 }) end
    local found = labels.read(data, task, {}, { fit = 'valid', held_out = 'test', n_fit = 3, n_held_out = 4 })
    assert.equal(0.25, found.columns[1].baseline)
  end)

  it('are given to other examples as a control, the same for a seed', function()
    local found, data = read(given)
    local doubled = labels.with_shuffled(found, 7)
    assert.equal(20, #doubled.columns)
    local moved, counts = 0, {}
    for i = 0, 59 do
      for k = 0, 9 do
        local own, other = found.fit[i * 10 + k], doubled.fit[i * 20 + 10 + k]
        assert.equal(own, doubled.fit[i * 20 + k])
        counts[k * 100 + own] = (counts[k * 100 + own] or 0) + 1
        counts[k * 100 + other] = (counts[k * 100 + other] or 0) - 1
        if own ~= other then moved = moved + 1 end
      end
    end
    for _, left in pairs(counts) do assert.equal(0, left) end
    assert.is_true(moved > 300)
    local bytes = 4 * 20 * 40
    local function text(of) return ffi.string(of.held_out, bytes) end
    assert.equal(text(doubled), text(labels.with_shuffled(found, 7)))
    assert.are_not.equal(text(doubled), text(labels.with_shuffled(found, 8)))
    assert.same({ false, true }, { doubled.columns[1].is_shuffled, doubled.columns[11].is_shuffled })
    data:free()
  end)
end)

-- ---- Linear probes ------------------------------------------------------------------------------

-- Labels of two columns: the largest of the first three features, and noise. (n, 2)
local function made_labels(values, n, width, seed)
  local numbers, noise = ffi.new('int32_t[?]', 2 * n), random.permutation(random.key(seed, 'data', 1), n)
  for i = 0, n - 1 do
    local row, best = values + i * width, 0
    for c = 1, 2 do best = row[c] > row[best] and c or best end
    numbers[2 * i], numbers[2 * i + 1] = best, noise[i] % 3
  end
  return numbers
end

local function problem(n_fit, n_held_out, width)
  local function made(n, seed)
    local x = tensor.randn({ n, width }, { mean = 5, std = 0.1, key = random.key(seed, 'data', 0) })
    return x, made_labels(x:read(), n, width, seed)
  end
  local fit, fit_labels = made(n_fit, 1)
  local held_out, held_out_labels = made(n_held_out, 2)
  return { fit = fit, held_out = held_out }, {
    columns = { {}, {} }, classes = 3, fit = fit_labels, held_out = held_out_labels, n_fit = n_fit,
    n_held_out = n_held_out,
  }
end

describe('a linear probe', function()
  it('tells what is linear in the states, and no noise', function()
    scope.run(function()
      local found = linear_probe.accuracies(problem(900, 500, 12))
      assert.is_true(found[1] > 0.93, tostring(found[1]))
      assert.is_true(math.abs(found[2] - 1 / 3) < 0.08, tostring(found[2]))
    end)
  end)

  it('is fitted to each column as if it were alone, and gives the same numbers again', function()
    scope.run(function()
      local x, both = problem(300, 200, 6)
      local found = linear_probe.accuracies(x, both)
      assert.same(found, linear_probe.accuracies(x, both))
      for k = 1, 2 do
        local alone = { columns = { {} }, classes = 3, fit = ffi.new('int32_t[300]'),
                        held_out = ffi.new('int32_t[200]'), n_fit = 300, n_held_out = 200 }
        for i = 0, 299 do alone.fit[i] = both.fit[2 * i + k - 1] end
        for i = 0, 199 do alone.held_out[i] = both.held_out[2 * i + k - 1] end
        assert.near(found[k], linear_probe.accuracies(x, alone)[1], 0.011) -- rounding may tip an example or two
      end
    end)
  end)

  it('guesses the most frequent class from states that are all the same', function()
    scope.run(function()
      local _, given = problem(90, 60, 4)
      for i = 0, 89 do given.fit[2 * i] = i % 5 == 0 and 2 or 1 end
      for i = 0, 59 do given.held_out[2 * i] = i % 3 == 0 and 1 or 2 end
      local same = { fit = tensor.full({ 90, 4 }, 0.3), held_out = tensor.full({ 60, 4 }, 0.3) }
      assert.near(1 / 3, linear_probe.accuracies(same, given)[1], 1e-12)
    end)
  end)
end)

-- ---- Attention ----------------------------------------------------------------------------------

describe('attention maps', function()
  it('are the weights that the operator mixes the values with', function()
    scope.run(scope.no_grad, function()
      local heads, length, width = 3, 9, 12
      local qkv = tensor.randn({ length, 3 * width }, { std = 2, key = random.key(1, 'data', 0) })
      local weights = attention.weights(qkv, heads)
      local values = qkv:narrow(1, 2 * width, width):reshape(length, heads, width / heads):permute(1, 0, 2)
      local mixed = weights:matmul(values):permute(1, 0, 2):reshape(length, width)
      local expected, n = qkv:attention(tensor.new({ 0, length }, 'int32'), heads):read()
      assert.is_true(tiny.distance(expected, mixed:read(), n) < 1e-5)
      for _, map in ipairs(weights:totable()) do
        for query, row in ipairs(map) do
          local sum = 0
          for key, weight in ipairs(row) do
            sum = sum + weight
            assert.is_true(key <= query or weight == 0)
          end
          assert.near(1, sum, 1e-5)
        end
      end
    end)
  end)

  it('are there for each block and head, on the sequence of the stage', function()
    local data = tiny.dataset { { 1, 0, 1 }, { 3, 4, 2 } }
    local model = tiny.model(data)
    local maps, tokens = attention.maps(model, data.test, 1, cut_of(data, 3))
    local example, words = data.test:example(1), data.vocabulary
    assert.same({ example.question[1], example.question[2], example.question[3], words.eos, example.cot[4], words.eos,
                  words.separator, example.answer[1], example.answer[2], words.eos }, tokens)
    assert.equal(4, #maps)
    assert.same({ 2, 1, 10 }, { maps[3].layer, maps[3].head, maps[3].length })
    assert.equal(1, maps[4].weights[0]) -- the first token sees itself alone
    local sum = 0
    for key = 0, 9 do sum = sum + maps[4].weights[9 * 10 + key] end
    assert.near(1, sum, 1e-5)
  end)
end)

-- ---- Putting it together ------------------------------------------------------------------------

describe('the summary', function()
  local function row(control, step, layer, place, quantity, accuracy)
    return { control = control, step = step, removed = step / 10, layer = layer, place = place, quantity = quantity,
             accuracy = accuracy, baseline = 0.1 }
  end

  it('shows each quantity where training has made the most difference, controls at the same place', function()
    local rows = {
      row('none', 10, 0, 'CoT 1', 'sum, digit 1', 1.0), row('none', 10, 1, '####', 'sum, digit 1', 0.8),
      row('none', 10, 0, 'CoT 1', 'sum, digit 2', 0.5), row('none', 10, 1, '####', 'sum, digit 2', 0.3),
      row('shuffled', 10, 0, 'CoT 1', 'sum, digit 1', 0.12), row('shuffled', 10, 1, '####', 'sum, digit 1', 0.14),
      row('shuffled', 10, 0, 'CoT 1', 'sum, digit 2', 0.16), row('shuffled', 10, 1, '####', 'sum, digit 2', 0.18),
      row('untrained', 10, 0, 'CoT 1', 'sum, digit 1', 0.9), row('untrained', 10, 1, '####', 'sum, digit 1', 0.2),
      row('untrained', 10, 0, 'CoT 1', 'sum, digit 2', 0.2), row('untrained', 10, 1, '####', 'sum, digit 2', 0.2),
      row('none', 20, 1, '####', 'parity', 0.7), row('untrained', 20, 1, '####', 'parity', 0.6),
      row('shuffled', 20, 1, '####', 'parity', 0.5),
      row('no_cot', 99, 1, '####', 'sum, digit 1', 0.4),
    }
    local lines = summary.of(rows)
    assert.equal(2, #lines)
    assert.same({ 10, 'sum', 2 }, { lines[1].step, lines[1].group, lines[1].quantities })
    assert.near(0.65, lines[1].accuracy, 1e-12)
    assert.near(0.2, lines[1].untrained, 1e-12)
    assert.near(0.15, lines[1].shuffled, 1e-12)
    assert.near(0.4, lines[1].no_cot, 1e-12) -- of the one digit whose place it has
    assert.equal(rows[2], lines[1].clearest)
    assert.same({ 20, 'parity', 1 }, { lines[2].step, lines[2].group, lines[2].quantities })
    assert.is_nil(lines[2].no_cot)
  end)
end)

describe('kept stages', function()
  it('are chosen evenly, the first and the last among them', function()
    local all = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }
    assert.same({ 1, 3, 5, 7, 9 }, kept_stages.spread(all, 5))
    assert.same({ 1, 9 }, kept_stages.spread(all, 2))
    assert.same({ 9 }, kept_stages.spread(all, 1))
    assert.same(all, kept_stages.spread(all, 100))
    assert.same({ 1, 3, 4 }, kept_stages.spread({ 1, 2, 3, 4 }, 3))
  end)
end)
