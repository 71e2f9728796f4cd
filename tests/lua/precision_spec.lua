--- precision = 'bf16': trains as float32 does, to within the rounding, and says so where it cannot.
local core = require 'icot.engine.core'
local expect = require 'tests.lua.support.expect'
local program = require 'tests.lua.support.program'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

local function is_there()
  local _, problem = core.set_precision('bf16')
  core.set_precision('float32')
  return problem == nil, problem
end

-- A run's losses, and what its run file says of the precision.
local function losses_in(precision)
  local ok, result, path = small.train { settings = { 'precision=' .. precision, 'train.log_every=1' } }
  assert.is_true(ok, tostring(result))
  local file = small.read(path)
  return small.column(file.tables.train, 'loss'), file.attributes.precision
end

-- The same of a training by the program, wide enough that threads share the work.
local function losses_of_program(precision, threads, environment)
  local run = small.run { settings = { 'train.log_every=1' } }
  local result = program.run({
    run.output:gsub('%.h5$', '.lua'), '--out', run.output, '--threads', tostring(threads),
    '--set', 'precision=' .. precision, '--set', 'model.width=64', '--set', 'train.log_every=1',
  }, { environment = environment })
  assert.equal(0, result.code, result.err)
  local file = small.read(run.output)
  return small.column(file.tables.train, 'loss'), file.attributes
end

describe('icot eval', function()
  after_each(temporary.clean)

  it('computes as the training did', function()
    if not is_there() then return pending('no bf16 here') end
    local ok, result, path = small.train { settings = { 'precision=bf16' } }
    core.set_precision('float32')
    assert.is_true(ok, tostring(result))
    local losses = small.column(small.read(path).tables.eval, 'loss')
    local shown = program.run { 'eval', path }
    expect.mentions(shown.out, ('loss             %.6f'):format(losses[#losses]), 'precision        bf16')
  end)
end)

describe('a training', function()
  after_each(temporary.clean)

  for _, precision in ipairs { 'float32', 'bf16' } do
    it('has the same bits with any number of threads in ' .. precision, function()
      if core.versions().cpu_kernels == 'generic' then return pending('a CPU without AVX2') end
      local there, problem = is_there()
      if precision == 'bf16' and not there then return pending(problem) end
      local alone = losses_of_program(precision, 1)
      assert.equal(40, #alone)
      assert.same(alone, (losses_of_program(precision, 2)))
      assert.same(alone, (losses_of_program(precision, 3)))
    end)
  end

  it('has them, too, if its products are narrow: of a vocabulary of 14 symbols', function()
    if core.versions().cpu_kernels == 'generic' then return pending('a CPU without AVX2') end
    local folder, models = temporary.folder(), {}
    local path = temporary.write(folder .. '/narrow.lua', [[return {
      method = 'explicit_cot', dataset = { task = 'modular_sum', train = 500, valid = 8, test = 8 },
      model = { layers = 1, heads = 2, width = 128 }, train = { steps = 4, batch = 64 }, evaluate = { examples = 1 },
    }]])
    for threads = 1, 3 do
      local out = ('%s/%d.h5'):format(folder, threads)
      local result = program.run { path, '--threads', tostring(threads), '--out', out, '--quiet' }
      assert.equal(0, result.code, result.err)
      models[threads] = small.model_bytes(out)
    end
    assert.is_true(models[1] == models[2] and models[1] == models[3])
  end)
end)

describe('a training in bf16', function()
  after_each(function()
    temporary.clean()
    core.set_precision('float32')
  end)

  it('has losses near those of float32, but not the same', function()
    local there, problem = is_there()
    if not there then return pending(problem) end
    local exact, float32 = losses_in('float32')
    local rounded, bf16 = losses_in('bf16')
    assert.same({ 'float32', 'bf16' }, { float32, bf16 })
    assert.is_not.same(exact, rounded)
    for i, loss in ipairs(exact) do assert.near(loss, rounded[i], 0.02 * loss) end
  end)

  it('has the same bits twice', function()
    local there, problem = is_there()
    if not there then return pending(problem) end
    assert.same((losses_in('bf16')), (losses_in('bf16')))
  end)

  it('takes oneDNN where it is asked to, and names it', function()
    local there, problem = is_there()
    if not there then return pending(problem) end
    local losses, attributes = losses_of_program('bf16', 2, 'ICOT_ONEDNN=1')
    if attributes.onednn_version == 'none' then return pending('built without oneDNN') end
    assert.matches('^%d+%.%d+', attributes.onednn_version)
    local own, without = losses_of_program('bf16', 2, 'ICOT_ONEDNN=0')
    assert.equal('none', without.onednn_version)
    for i, loss in ipairs(own) do assert.near(loss, losses[i], 0.01 * loss) end
  end)

  it('needs no library but that of icot itself', function()
    local there, problem = is_there()
    if not there then return pending(problem) end
    local folder, share = temporary.folder(), os.getenv('ICOT_HEADER'):match('^(.*)/[^/]*$')
    local library = os.getenv('ICOT_LIBRARY')
    os.execute(([[
      cd '%s' && mkdir -p bin lib/icot share && cp '%s' bin/ && cp '%s' lib/icot/ && ln -s '%s' share/icot]]):format(
      folder, program.icot, library, share))
    local run = small.run { settings = { 'precision=bf16' } }
    local result = program.shell(("'%s/bin/icot' '%s' --out '%s' --set precision=bf16"):format(
      folder, run.output:gsub('%.h5$', '.lua'), run.output))
    assert.equal(0, result.code, result.err)
    assert.equal('bf16', small.read(run.output).attributes.precision)
  end)

  it('becomes one in float32 where TF32 is asked of a CPU, and says so', function()
    local run = small.run {}
    local result = program.run { run.output:gsub('%.h5$', '.lua'), '--out', run.output, '--set', 'precision=tf32' }
    assert.equal(0, result.code, result.err)
    expect.mentions(result.err, 'tf32:', "device = 'cuda'", 'training in float32')
    assert.equal('float32', small.read(run.output).attributes.precision)
  end)

  it('cannot be another that is not known', function()
    assert.has_error(function() small.run { settings = { 'precision=fp8' } } end)
  end)
end)
