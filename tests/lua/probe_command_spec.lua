--- `icot probe`: what it finds in the stages of a run, beside which controls, and what it writes.
local expect = require 'tests.lua.support.expect'
local lfs = require 'lfs'
local program = require 'tests.lua.support.program'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

local STAGES = ' checkpoint = { keep = { stages = \'all\' } },'
local DATA = 'dataset = { task = \'multiplication\', digits = 2, train = 500, valid = 160, test = 90 },'

-- A run with the stages 0, 4 and all 8 removed, as small_training has it, but with more held-out examples.
local function trained(changes)
  changes = changes or {}
  changes.schedule = changes.schedule or 'function(state) return math.max(0, math.floor((state.step - 8) / 10)) * 4 end'
  changes.more = STAGES .. ' ' .. (changes.more or '')
  changes.settings = changes.settings or { 'dataset.valid=160', 'dataset.test=90' }
  local ok, result, path = small.train(changes)
  assert.is_true(ok, tostring(result))
  return path
end

local function icot(...)
  return program.run({ 'probe', '--threads', '1', ... })
end

-- Rows as tables by column, those with certain values.
local function rows_of(file_table, wanted)
  local found = {}
  for _, cells in ipairs(file_table.rows) do
    local row, fits = {}, true
    for i, name in ipairs(file_table.columns) do row[name] = cells[i] end
    for name, value in pairs(wanted or {}) do fits = fits and row[name] == value end
    if fits then found[#found + 1] = row end
  end
  return found
end

describe('icot probe', function()
  after_each(temporary.clean)

  it('probes stages and controls, layer by layer and place by place', function()
    local path = trained()
    local shown = icot(path, '--show', '2', '--stages', '2')
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.out, 'step  removed  quantities', 'partial product 2 (3)', 'clearest', '.probes.h5')
    expect.mentions(shown.err, 'step 18, 0 removed, trained: 2 layers at 21 places', 'step 18, 0 removed, untrained: ')

    local file = small.read((path:gsub('%.h5$', '.probes.h5')))
    assert.same({ 'probes', path, 'icot', 'valid', 'finished' },
                { file.attributes.kind, file.attributes.run, file.attributes.arm, file.attributes.fit,
                  file.attributes.end_state })
    local probes = file.tables.probes
    local places = { [0] = 21, [8] = 13 }
    for removed, count in pairs(places) do
      for _, control in ipairs { 'none', 'shuffled', 'untrained' } do
        assert.equal(2 * count * 10, #rows_of(probes, { removed = removed, control = control }))
      end
    end
    assert.equal((21 + 13) * 2 * 10 * 3, #probes.rows)

    -- what is written at a place can be told there, by everybody; but not with another example's labels, or before
    local first = 'partial product 1, digit 1'
    local function accuracy(control, layer, place)
      return rows_of(probes, { removed = 0, quantity = first, control = control, layer = layer, place = place })[1]
    end
    for _, control in ipairs { 'none', 'untrained' } do
      assert.is_true(accuracy(control, 0, 'CoT 1').accuracy > 0.95)
      local constant = accuracy(control, 0, '####')
      assert.near(constant.baseline, constant.accuracy, 1e-12)
      assert.same({ 90, 160, 15 }, { constant.examples, constant.examples_fit, constant.position })
    end
    assert.is_true(accuracy('shuffled', 0, 'CoT 1').accuracy < 0.5)
  end)

  it('keeps the attention of examples, a row per query', function()
    local path = trained()
    local out = path:gsub('small%.h5$', 'shown.h5')
    local shown = icot(path, '--show', '1,3', '--stages', '2', '--examples', '20', '--places', '####', '--out', out)
    assert.equal(0, shown.code, shown.err)
    local tables = small.read(out).tables
    local rows, weights = tables.attention_rows, tables.attention.rows
    assert.equal(#rows.rows, #weights)
    assert.equal(2 * 2 * (21 + 13), #weights) -- examples, heads, tokens of two stages
    assert.equal(21, #weights[1]) -- the longest
    assert.same({ 0, 8 }, { rows_of(rows)[1].removed, rows_of(rows)[#weights].removed })
    assert.same({ 3, 1, 2, 12, '<eos>' }, { rows_of(rows)[#weights].example, rows_of(rows)[#weights].layer,
                                            rows_of(rows)[#weights].head, rows_of(rows)[#weights].query,
                                            rows_of(rows)[#weights].token })
    for i, row in ipairs(rows_of(rows)) do
      local sum = 0
      for key = 1, row.query + 1 do sum = sum + weights[i][key] end
      assert.near(1, sum, 1e-5)
      for key = row.query + 2, 21 do
        local is_behind = row.removed == 8 and key > 13
        assert.is_true(is_behind and type(weights[i][key]) ~= 'number' or weights[i][key] == 0)
      end
    end
    assert.equal(2 * 2 * 10 * 3, #tables.probes.rows) -- stages, layers, quantities, controls
    assert.equal(20, rows_of(tables.probes)[1].examples)
  end)

  it('passes over stages that have none of the places any more', function()
    local path = trained()
    local shown = icot(path, '--stages', '2', '--places', 'CoT 7', '--quantities', 'product 1')
    assert.equal(0, shown.code, shown.err)
    local rows = rows_of(small.read((path:gsub('%.h5$', '.probes.h5'))).tables.probes)
    assert.equal(2 * 3 * 3, #rows) -- layers, quantities, controls
    for _, row in ipairs(rows) do assert.same({ 0, 'CoT 7' }, { row.removed, row.place }) end
  end)

  it('gives the same numbers again', function()
    local path, found = trained(), {}
    for i = 1, 2 do
      local out = path:gsub('small%.h5$', ('again-%d.h5'):format(i))
      assert.equal(0, icot(path, '--stages', '1', '--places', 'answer', '--quantities', 'product 2', '--show', 'none',
                           '--out', out).code)
      local tables = small.read(out).tables
      assert.same({ 0, 0 }, { #tables.attention_rows.rows, #tables.attention.rows })
      found[i] = tables.probes
    end
    assert.equal(4 * 2 * 3 * 3 + 2 * 3 * 3, #found[1].rows) -- answer 1 to 4 and its <eos>
    assert.same(found[1].rows, found[2].rows)
  end)

  it('takes the pauses of a run for places of the CoT, and shows none to a model without CoT', function()
    local path = trained { settings = { 'method=pause', 'dataset.valid=160', 'dataset.test=90' } }
    local direct = trained { settings = { 'method=no_cot', 'dataset.valid=160', 'dataset.test=90' } }
    local shown = icot(path, '--no-cot', direct, '--stages', '1', '--show', '1')
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.err, '8 removed, trained: 2 layers at 21 places', '8 removed, no_cot: 2 layers at 13 places')
    local tables = small.read((path:gsub('%.h5$', '.probes.h5'))).tables
    assert.equal(10, #rows_of(tables.probes, { place = 'CoT 5', layer = 1, control = 'none' }))
    assert.equal(8, #rows_of(tables.attention_rows, { layer = 1, head = 1, token = '<pause>' }))
  end)

  it('compares with a run without CoT, which it finds beside a run of a study', function()
    local folder = temporary.folder()
    temporary.write(folder .. '/two.lua', ([[
return {
  method = 'icot', %s
  model = { layers = 1, heads = 2, width = 16 },
  schedule = { kind = 'linear', steps_per_token = 1 }, optimizer = { lr = 1e-3 },
  train = { batch = 20, steps = 12, evaluate_every = 12 },
  arms = { { name = 'icot' }, { name = 'direct', method = 'no_cot', model = { layers = 2 } } }, seeds = { 1, 2 },
}]]):format(DATA))
    assert.equal(0, program.run_in(folder, 'two.lua', '--out', 'two.h5', '--threads', '1').code)
    local path = folder .. '/two/icot-2.h5'
    local shown = icot(path, '--stages', '1', '--show', '1', '--places', 'answer')
    assert.equal(0, shown.code, shown.err)
    expect.mentions(shown.err, 'control without CoT: ' .. folder .. '/two/direct-2.h5',
                    'step 12, 8 removed, no_cot: 3 layers at 5 places')
    expect.mentions(shown.out, 'no_cot')
    local probes = small.read(folder .. '/two/icot-2.probes.h5').tables.probes
    assert.equal(5 * 3 * 10, #rows_of(probes, { control = 'no_cot' }))

    local of_itself = icot(folder .. '/two/direct-1.h5', '--stages', '1', '--places', '####')
    assert.equal(0, of_itself.code, of_itself.err)
    assert.is_nil(of_itself.err:find('control without CoT', 1, true))
    local wrong = icot(path, '--no-cot', folder .. '/two/icot-1.h5', '--force')
    assert.equal(1, wrong.code)
    expect.mentions(wrong.err, "icot-1.h5: its method is 'icot', expected 'no_cot'")
    local other = icot(trained { settings = { 'dataset.seed=5' } }, '--no-cot', folder .. '/two/direct-1.h5')
    assert.equal(1, other.code)
    expect.mentions(other.err, 'its test examples differ from those of the run to probe')
    assert.equal(1, icot(path, '--no-cot', folder .. '/none.h5', '--force').code)
    expect.mentions(icot(folder .. '/two.h5').err,
                    '/two.h5: is a study; name one of its runs, such as ' .. folder .. '/two/direct-1')
  end)

  -- A text dataset whose validation examples are those of the test split, from the line `first` on.
  local function with_shared_examples(first)
    local folder, lines = temporary.folder(), {}
    for i = 0, 59 do
      local a, b = math.floor(i / 10), i % 10
      lines[i + 1] = ('%d %d||%d %d #### %d'):format(a, b, b, a, (a + b) % 10)
    end
    local function write(name, from, to)
      return temporary.write(('%s/%s'):format(folder, name), table.concat(lines, '\n', from, to) .. '\n')
    end
    return trained { settings = {
      'dataset.task=text', 'dataset.train=' .. write('train', 1, 60), 'dataset.test=' .. write('test', 31, 60),
      'dataset.valid=' .. write('valid', first, first + 29),
    } }
  end

  it('does not test probes on examples that they were fitted to', function()
    local refused = icot(with_shared_examples(31))
    assert.equal(1, refused.code)
    expect.mentions(refused.err, 'probe: 30 of 30 examples of the split test are in valid, too',
                    'they need examples of their own')
    expect.mentions(icot(with_shared_examples(26)).err, '25 of 30 examples of the split test are in valid, too')
  end)

  it('tells what is wrong before it begins, and overwrites nothing', function()
    local path = trained()
    local function message(...)
      local shown = icot(path, ...)
      assert.are_not.equal(0, shown.code)
      assert.is_nil(shown.err:find('bug', 1, true), shown.err)
      return shown.err
    end
    expect.mentions(message('--show', '91'), 'probe: --show 91: there are only 90 test examples')
    expect.mentions(message('--show', '0'), "--show: got '0', expected numbers of examples from 1 on")
    expect.mentions(message('--quantities', 'remainder'),
                    "no quantity that varies has 'remainder' in its name; known are: partial ", 'product')
    expect.mentions(message('--fit', 'test'), '--fit')
    expect.mentions(message('--places', 'middle'), "no place has 'middle' in its name")
    assert.is_nil(lfs.attributes((path:gsub('%.h5$', '.probes.h5')), 'mode'))

    local none = temporary.folder() .. '/none.h5'
    expect.mentions(icot(none).err, 'probe: ' .. none .. ': there is no such run')
    local out = temporary.write(temporary.folder() .. '/there.h5', 'mine')
    expect.mentions(message('--out', out), out .. ': already exists; --force overwrites it')
    assert.equal('mine', temporary.read(out))
  end)
end)
