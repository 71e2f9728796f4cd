-- Run files as the trainer writes them and as a notebook reads them (h5py and pandas, in a process of their own).
local cjson = require 'cjson'
local python = require 'tests.lua.support.python'
local index_file = require 'icot.study.index_file'
local runlog = require 'icot.results.runlog'
local sample_run = require 'tests.lua.support.sample_run'
local temporary = require 'tests.lua.support.temporary'

local function dump(path, ...)
  return python.json_of('tests/notebooks/dump_run.py', path, ...)
end

local function columns_of(dumped, name)
  local position = {}
  for i, column in ipairs(dumped.columns) do position[column] = i end
  local values = {}
  for i, row in ipairs(dumped.rows) do values[i] = row[position[name]] end
  return values
end

--- Compares a table read by pandas with the rows that were written.
local function assert_rows(written, dumped)
  assert.equal(#written, #dumped.rows)
  for name in pairs(written[1]) do
    for i, value in ipairs(columns_of(dumped, name)) do
      local expected = written[i][name]
      if type(expected) == 'number' then
        assert.near(expected, value, 1e-12 * math.max(1, math.abs(expected)))
      else
        assert.equal(expected, value)
      end
    end
  end
end

local train_row = {
  step = 1, epoch = 0.5, removed = 0, loss = 1.25, token_accuracy = 0.5, grad_norm = 1, lr = 1e-3, tokens = 10,
  seconds = 0.5, flops = 1e9, optimizer_reset = false,
}
local eval_row = {
  step = 1, epoch = 0.5, removed = 0, split = 'valid', accuracy = 0, token_accuracy = 0.1, loss = 2,
  examples_per_second = 10, tokens_generated = 5, examples = 2,
}

local function with(row, changes)
  local copy = {}
  for name, value in pairs(row) do copy[name] = value end
  for name, value in pairs(changes) do copy[name] = value end
  return copy
end

describe('a run file', function()
  local folder, path
  before_each(function()
    folder = temporary.folder()
    path = folder .. '/run.h5'
  end)
  after_each(temporary.clean)

  local function create(changes)
    return runlog.create(with({ path = path, recipe = 'mult', seed = 7, answer_length = 3 }, changes or {}))
  end

  it('holds what icot.results.table_formats says, as pandas reads it', function()
    local written = sample_run.write(path)
    local found = dump(path)
    assert.same({ 'step', 'epoch', 'removed', 'loss', 'token_accuracy', 'grad_norm', 'lr', 'tokens', 'seconds',
                  'flops', 'optimizer_reset' }, found.tables.train.columns)
    assert.same({ 'int64', 'float64', 'int64', 'float64', 'float64', 'float64', 'float64', 'int64', 'float64',
                  'float64', 'bool' }, found.tables.train.dtypes)
    assert.same({ 'step', 'epoch', 'removed', 'split', 'accuracy', 'token_accuracy', 'loss', 'examples_per_second',
                  'tokens_generated', 'examples' }, found.tables.eval.columns)
    assert.same({ 'step', 'split', 'question', 'target', 'prediction', 'cot' }, found.tables.samples.columns)
    assert.same({ 'step', 'split', 'group', 'examples', 'accuracy' }, found.tables.eval_groups.columns)
    assert.same({ 'int64', 'object', 'object', 'int64', 'float64' }, found.tables.eval_groups.dtypes)
    assert_rows(written.train, found.tables.train)
    assert_rows(written.eval, found.tables.eval)
    for i, positions in ipairs(written.positions) do
      for k, value in ipairs(positions) do
        assert.near(value, found.tables.eval_positions.rows[i][k], 1e-12)
      end
    end
    assert.same({ source = '-- é\nreturn {}\n', config = '{"seed": 1}' }, found.texts)
  end)

  it('says how it was made, in attributes that h5py reads as text and numbers', function()
    create({ attributes = { precision = 'bf16', device = 'cpu' } }):close('finished')
    local attributes = dump(path).attributes
    local expected = {
      format_version = 'number', kind = 'string', recipe = 'string', seed = 'number', precision = 'string',
      device = 'string', threads = 'number', icot_version = 'string', luajit_version = 'string',
      openblas_version = 'string', hdf5_version = 'string', host = 'string', start_time = 'string',
      end_state = 'string', end_time = 'string',
    }
    for name, kind in pairs(expected) do assert.equal(kind, type(attributes[name]), name) end
    assert.equal(7, attributes.seed)
    assert.equal('mult', attributes.recipe)
    assert.equal('finished', attributes.end_state)
    assert.truthy(attributes.start_time:match('^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$'))
    assert.truthy(attributes.end_time >= attributes.start_time)
  end)

  it('can be read while rows are added', function()
    local log = create()
    local function add(first, last)
      for step = first, last do log:train(with(train_row, { step = step, loss = step / 4 })) end
      log:flush()
    end
    add(1, 10)
    local follower = assert(io.popen(('%s tests/notebooks/follow_run.py %s 10 1000 1001'):format(
      python.program, path)))
    assert.equal('10 2.5 running', follower:read('*l'))
    add(11, 1000)
    assert.equal('1000 250.0 running', follower:read('*l'))
    add(1001, 1001)
    assert.equal('1001 250.25 running', follower:read('*l'))
    follower:close()
    assert.equal('running', dump(path, '--swmr').attributes.end_state)
    log:set('best', 0.5)
    log:close('interrupted')
    local found = dump(path)
    assert.equal('interrupted', found.attributes.end_state)
    assert.equal(0.5, found.attributes.best)
    assert.equal(1001, #found.tables.train.rows)
  end)

  it('has no number for positions that an answer does not have', function()
    local log = create()
    log:eval(eval_row, { 1, 0.5 })
    log:eval(eval_row, {})
    log:close('finished')
    assert.same({ { 1, 0.5, cjson.null }, { cjson.null, cjson.null, cjson.null } },
                dump(path).tables.eval_positions.rows)
    log:close('finished') -- a second time: nothing happens
  end)

  it('cuts long texts between two characters', function()
    local log = create { text_width = 8 }
    log:sample { step = 1, split = 'valid', question = '1234567é', target = '\255', prediction = '', cot = '3' }
    log:close('finished')
    assert.same({ { 1, 'valid', '1234567', '\239\191\189', '', '3' } }, dump(path).tables.samples.rows)
  end)

  it('refuses rows that do not fit, naming the column and the caller', function()
    local log = create()
    local function refused(expected, method, ...)
      local ok, message = pcall(log[method], log, ...)
      assert.is_false(ok)
      assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
    end
    local incomplete = with(train_row, {})
    incomplete.loss = nil
    refused('/train: column loss: got nil, expected a number', 'train', incomplete)
    refused('/train has no column los', 'train', with(train_row, { los = 1 }))
    refused('column optimizer_reset: got number, expected a boolean', 'train', with(train_row, { optimizer_reset = 1 }))
    refused('column split: got number, expected a string', 'eval', with(eval_row, { split = 1 }), {})
    refused('4 answer positions, expected at most 3', 'eval', eval_row, { 1, 1, 1, 1 })
    refused('column step: got 1.5, expected an integer', 'train', with(train_row, { step = 1.5 }))
    local _, message = pcall(function() log:train({}) end)
    assert.truthy(message:find('runlog_spec.lua', 1, true))
    log:train(train_row)
    log:close('finished')
    refused('is closed', 'train', train_row)
    refused('is closed', 'flush')
    local found = dump(path)
    assert.equal(1, #found.tables.train.rows)
    assert.equal(0, #found.tables.eval.rows)
  end)

  it('is never overwritten unasked', function()
    create():close('finished')
    assert.has_error(function() create() end)
    local ok, message = pcall(create)
    assert.is_false(ok)
    assert.equal(path .. ': already exists; --force overwrites it, --out chooses another path', tostring(message))
    create({ force = true, seed = 8 }):close('finished')
    assert.equal(8, dump(path).attributes.seed)
  end)

  it('is not begun where something is wrong', function()
    local ok, message = pcall(create, { text_width = 0 })
    assert.is_false(ok)
    assert.truthy(tostring(message):find('column question: got a width of 0', 1, true))
    assert.is_false(pcall(create, { path = '/proc/run.h5' }))
    local listed = io.popen(('ls -A %s'):format(folder)):read('*a')
    assert.equal('', listed)
  end)

  it('that nobody closes is marked as failed once it is collected', function()
    local log = create()
    log:train(train_row)
    log = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal('failed', dump(path).attributes.end_state)
  end)
end)

describe('the index of a study', function()
  local folder
  before_each(function() folder = temporary.folder() end)
  after_each(temporary.clean)

  it('links its runs and sums them up, also after it was moved', function()
    local path, summary = sample_run.write_study(folder .. '/results')
    assert.truthy(os.rename(folder .. '/results', folder .. '/moved'))
    local found = dump(path:gsub('/results/', '/moved/'))
    assert.equal('study', found.attributes.kind)
    assert.same({ 'arm', 'seed', 'method', 'removed', 'accuracy', 'updates', 'tokens', 'flops', 'seconds', 'status',
                  'explicit_accuracy', 'collapsed' }, found.tables.summary.columns)
    assert_rows(summary, found.tables.summary)
    assert.equal('sample/icot-2.h5', found.runs['icot-2'].file)
    assert.equal(2, found.runs['icot-2'].run.attributes.seed)
    assert.equal('no_cot', found.runs['no_cot-1'].run.attributes.method)
    assert.equal(200, #found.runs['explicit_cot-1'].run.tables.train.rows)
  end)

  it('can be read before all runs are there', function()
    local path = folder .. '/study.h5'
    local index = index_file.create { path = path, recipe = 'study', runs = {
      { arm = 'a', seed = 1, path = folder .. '/study/a-1.h5' },
      { arm = 'a', seed = 2, path = folder .. '/study/a-2.h5' },
    } }
    sample_run.write(folder .. '/study/a-1.h5')
    index:summary { arm = 'a', seed = 1, method = 'icot', removed = 3, accuracy = 0 / 0, updates = 1, tokens = 1,
                    flops = 1, seconds = 1, status = 'finished', explicit_accuracy = 0 / 0, collapsed = false }
    local found = dump(path, '--swmr')
    assert.equal('running', found.attributes.end_state)
    assert.equal(1, #found.tables.summary.rows)
    assert.equal('finished', found.runs['a-1'].run.attributes.end_state)
    assert.equal(cjson.null, found.runs['a-2'].run or cjson.null)
    index:close('finished')
  end)
end)
