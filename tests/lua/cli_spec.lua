--- The program `icot` as a user meets it: usage, exit codes, a whole small run, signals, the terminal.
local program = require 'tests.lua.support.program'
local temporary = require 'tests.lua.support.temporary'

local tiny = [[return {
  method = 'icot', dataset = { task = 'multiplication', digits = 2, train = 64, valid = 8, test = 8 },
  model = { layers = 1, heads = 2, width = 16 }, schedule = { kind = 'linear', steps_per_token = 1 },
  train = { steps = 12, batch = 8, log_every = 4, evaluate_every = 6 }, evaluate = { examples = 8, batch = 8 },
  arms = { { name = 'no_cot', method = 'no_cot' }, { name = 'icot' } },
}]]

-- A folder with a recipe mine.lua in it.
local function folder_with(text)
  local folder = temporary.folder()
  temporary.write(folder .. '/mine.lua', text or tiny)
  return folder
end

local function icot(arguments, folder, environment)
  return program.run(arguments, { folder = folder, environment = environment })
end

local function assert_fails(code, message, result)
  assert.same({ code = code, out = '', err = 'icot: ' .. message .. '\n' }, result)
end

describe('icot', function()
  after_each(temporary.clean)

  it('shows its help', function()
    local result = icot { '--help' }
    assert.equal(0, result.code)
    for word in ('set seed out threads force quiet traceback'):gmatch('%a+') do
      assert.matches('--' .. word, result.out, 1, true)
    end
  end)

  it('shows the versions of all it stands on', function()
    local result = icot { '--version' }
    assert.equal(0, result.code)
    for _, name in ipairs { 'icot', 'LuaJIT', 'OpenBLAS', 'HDF5', 'CPU kernels' } do
      assert.matches(name .. ' +%S', result.out)
    end
  end)

  it('shows the help of its commands', function()
    local result = icot { 'data', '--help' }
    assert.equal(0, result.code)
    assert.matches('Usage: icot data', result.out, 1, true)
  end)

  it('refuses a wrong command line with exit code 2', function()
    assert_fails(2, 'which recipe? (see icot --help)', icot {})
    assert_fails(2, "unknown option '--sed'; did you mean one of these: '--seed' '--set'? (see icot --help)",
      icot { 'x.lua', '--sed', '3' })
    assert_fails(2, "--seed: got '1.5', expected an integer from 0 to 9007199254740992 (see icot --help)",
      icot { 'x.lua', '--seed', '1.5' })
    assert_fails(2, "--threads: got '0', expected an integer from 1 to 1024 (see icot --help)",
      icot { 'x.lua', '--threads', '0' })
    assert_fails(2, '--set digits: expected KEY=VALUE (see icot --help)', icot { 'x.lua', '--set', 'digits' })
    assert_fails(2, 'dta: neither a recipe file nor a command; did you mean data? (see icot --help)', icot { 'dta' })
  end)

  it('refuses a recipe that is not there, or wrong, with exit code 1', function()
    local folder = folder_with "return { metod = 'icot' }"
    assert_fails(1, 'recipe none.lua: No such file or directory', icot({ 'none.lua' }, folder))
    assert_fails(1, 'recipe mine.lua: metod is not a known field; did you mean method?', icot({ 'mine.lua' }, folder))
    temporary.write(folder .. '/mine.lua', 'return {\n  seed = = 1 }')
    assert_fails(1, "mine.lua:2: unexpected symbol near '='", icot({ 'mine.lua' }, folder))
    assert.is_nil(temporary.read(folder .. '/results/mine.h5'))
  end)

  it('shows where an error was raised only when asked to', function()
    local folder = folder_with 'return 3'
    assert.is_nil(icot({ 'mine.lua' }, folder).err:find('stack traceback', 1, true))
    assert.matches('stack traceback', icot({ 'mine.lua', '--traceback' }, folder).err, 1, true)
  end)

  it('runs a study, and never overwrites it by itself', function()
    local folder = folder_with()
    local result = icot({ 'mine.lua' }, folder)
    assert.equal(0, result.code, result.err)
    assert.matches('\narm +seed +method', result.out)
    assert.matches('\nno_cot +42 +no_cot', result.out)
    assert.matches('\nicot +42 +icot', result.out)
    assert.matches('study +results/mine.h5\n$', result.out)
    assert.matches('icot seed 42  step 12/12', result.err, 1, true)
    assert.is_nil((result.out .. result.err):find('[\r\27]'))
    for _, path in ipairs { 'mine.h5', 'mine/icot-42.h5', 'mine/no_cot-42.h5', 'mine/icot-42/model.safetensors' } do
      assert.is_truthy(temporary.read(folder .. '/results/' .. path), path)
    end

    local before = temporary.read(folder .. '/results/mine/icot-42.h5')
    assert_fails(1, 'results/mine.h5: exists already; --force overwrites it, --out chooses another path',
      icot({ 'mine.lua' }, folder))
    assert.equal(before, temporary.read(folder .. '/results/mine/icot-42.h5'))
    assert.equal(0, icot({ 'mine.lua', '--force' }, folder).code)
  end)

  it('takes settings, a seed, an output and threads', function()
    local folder = folder_with()
    local result = icot({
      'mine.lua', '--set', 'train.steps=3', '--seed', '7', '--out', 'else/where.h5', '--threads', '1', '--quiet',
    }, folder)
    assert.same({ 0, '' }, { result.code, result.err })
    assert.matches('\nicot +7 +icot +%d+ +%S+ +%S+ +3 ', result.out)
    assert.is_truthy(temporary.read(folder .. '/else/where/icot-7.h5'))
  end)

  it('gives the same model for the same seed', function()
    local folder = folder_with()
    for _, name in ipairs { 'a', 'b' } do
      assert.equal(0, icot({ 'mine.lua', '--out', name .. '.h5', '--threads', '2' }, folder).code)
    end
    local function model(name) return temporary.read(folder .. '/' .. name .. '/icot-42/model.safetensors') end
    assert.is_true(model('a') == model('b'))
    assert.equal(0, icot({ 'mine.lua', '--out', 'c.h5', '--threads', '2', '--seed', '43' }, folder).code)
    assert.is_false(model('a') == temporary.read(folder .. '/c/icot-43/model.safetensors'))
  end)

  it('goes on with the other runs when one fails, and exits with 1', function()
    local folder = folder_with()
    local result = icot({ 'mine.lua', '--set', 'arms.no_cot.optimizer.lr=10', '--set', 'arms.icot.removal.smoothing=1',
      '--set', 'arms.no_cot.model.context=3', '--quiet' }, folder)
    assert.equal(1, result.code)
    assert.matches('^icot: no_cot seed 42: model.context: [^\n]*\n$', result.err)
    assert.matches('\nno_cot [^\n]* failed\n', result.out)
    assert.matches('\nicot [^\n]* finished\n', result.out)
  end)

  for name, code in pairs { INT = 130, TERM = 143 } do
    it(('ends cleanly on SIG%s'):format(name), function()
      local folder = folder_with()
      local result = program.shell(([[cd %s
        %s mine.lua --set train.steps=1000000 --set arms.no_cot.train.log_every=1 &
        icot=$!
        for wait in $(seq 100); do [ -e results/mine/no_cot-42.h5 ] && break; sleep 0.1; done
        sleep 0.3
        kill -%s $icot
        wait $icot]]):format(folder, program.icot, name))
      assert.equal(code, result.code, result.err)
      assert.matches('\nno_cot [^\n]* interrupted\n', result.out)
      assert.is_nil(result.out:find('\nicot'))
      assert.equal('\137HDF', temporary.read(folder .. '/results/mine/no_cot-42.h5'):sub(1, 4))
    end)
  end

  it('works from anywhere, and through a link', function()
    local folder = temporary.folder()
    local link = folder .. '/other'
    local result = program.shell(('ln -s %s %s && cd / && %s --version'):format(program.icot, link, link))
    assert.equal(0, result.code, result.err)
  end)

  it('says so when its output cannot be written', function()
    local result = program.shell(program.icot .. ' --version > /dev/full')
    assert.same({ code = 1, out = '', err = 'icot: cannot write to the standard output\n' }, result)
  end)

  it('says what is missing in a broken installation', function()
    local folder = temporary.folder()
    local result = program.shell(('mkdir -p %s/bin && cp %s %s/bin/icot && %s/bin/icot --version')
      :format(folder, program.icot, folder, folder))
    assert.equal(1, result.code)
    assert.matches("^icot: module 'icot.cli' not found:?\n$", result.err)
  end)
end)

describe('icot on a terminal', function()
  after_each(temporary.clean)

  local function on_terminal(environment)
    local folder = folder_with()
    local command = ('cd %s && %s %s mine.lua'):format(folder, environment, program.icot)
    return program.shell(("script -qec '%s' /dev/null"):format(command))
  end

  it('rewrites its line in place, in colour', function()
    local result = on_terminal 'TERM=xterm NO_COLOR='
    assert.equal(0, result.code)
    assert.matches('\r\27[1micot seed 42\27[0m  step 12/12', result.out, 1, true)
  end)

  it('leaves colours out when NO_COLOR is set', function()
    local result = on_terminal 'TERM=xterm NO_COLOR=1'
    assert.equal(0, result.code)
    assert.matches('\ricot seed 42  step 12/12', result.out, 1, true)
    assert.is_nil(result.out:find('\27%[%d*m'))
  end)
end)
