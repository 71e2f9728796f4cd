--- The program `icot` as a user meets it: usage, exit codes, a whole small run, signals, the terminal.
local program = require 'tests.lua.support.program'
local recipes = require 'tests.lua.support.recipes'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

local folder_with = recipes.folder_with

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
    assert_fails(2, "--seed: got '1.5', expected an integer from 0 to 9007199254740991 (see icot --help)",
      icot { 'x.lua', '--seed', '1.5' })
    assert_fails(2, "--seed: got '9007199254740993', expected an integer from 0 to 9007199254740991 (see icot --help)",
      icot { 'x.lua', '--seed', '9007199254740993' })
    assert_fails(2, "--count: got '0', expected an integer from 1 to 9007199254740991 (see icot data --help)",
      icot { 'data', 'multiplication', '--count', '0' })
    assert_fails(2, "--threads: got '0', expected an integer from 1 to 1024 (see icot --help)",
      icot { 'x.lua', '--threads', '0' })
    assert_fails(2, '--set digits: expected KEY=VALUE (see icot --help)', icot { 'x.lua', '--set', 'digits' })
    assert_fails(2, '--set digits: expected KEY=VALUE (see icot data --help)',
      icot { 'data', 'multiplication', '--set', 'digits' })
    assert_fails(2, 'dta: neither a recipe file nor a command; did you mean data? (see icot --help)', icot { 'dta' })
  end)

  it('refuses a recipe that is not there, or wrong, with exit code 1', function()
    local folder = folder_with "return { metod = 'icot' }"
    assert_fails(1, 'recipe none.lua: No such file or directory', icot({ 'none.lua' }, folder))
    assert_fails(1, 'recipe mine.lua: metod is not a known field; did you mean method?', icot({ 'mine.lua' }, folder))
    temporary.write(folder .. '/mine.lua', 'return {\n  seed = = 1 }')
    assert_fails(1, "mine.lua:2: unexpected symbol near '='", icot({ 'mine.lua' }, folder))
    temporary.write(folder .. '/mine.lua', 'return { model = icot.gpt2 }')
    assert_fails(1, "mine.lua:1: attempt to index global 'icot' (a nil value) (begin the recipe with: local icot = "
                 .. "require 'icot')", icot({ 'mine.lua' }, folder))
    assert_fails(1, 'recipe ./mine: No such file or directory (./mine.lua is there)', icot({ './mine' }, folder))
    assert_fails(2, "unknown option '--jobs'; it is an option of icot study (see icot --help)",
                 icot({ 'mine.lua', '--jobs', '2' }, folder))
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
    assert_fails(1, 'results/mine.h5: already exists; --resume continues it, --force overwrites it, --out chooses '
                 .. 'another path',
      icot({ 'mine.lua' }, folder))
    assert.equal(before, temporary.read(folder .. '/results/mine/icot-42.h5'))
    assert.equal(0, icot({ 'mine.lua', '--force' }, folder).code)
  end)

  it('helps whoever asks for help', function()
    assert.equal(icot({ '--help' }).out, icot({ 'help' }).out)
    assert.equal(icot({ 'data', '--help' }).out, icot({ 'help', 'data' }).out)
  end)

  it('resumes a recipe, whichever comes first', function()
    local folder = folder_with()
    assert.equal(0, icot({ 'mine.lua', '--quiet' }, folder).code)
    local again = icot({ '--resume', 'mine.lua' }, folder)
    assert.equal(0, again.code, again.err)
    assert.matches('already finished', again.err)
  end)

  it('evaluates a run by its folder, too, and no tables of other commands', function()
    local folder = folder_with()
    assert.equal(0, icot({ 'mine.lua', '--quiet' }, folder).code)
    local shown = icot({ 'eval', 'results/mine/icot-42' }, folder)
    assert.equal(0, shown.code, shown.err)
    assert_fails(1, 'eval: results/mine/icot-42.frontier.h5: was written by icot frontier; name its run, '
                 .. 'results/mine/icot-42.h5', icot({ 'eval', 'results/mine/icot-42.frontier.h5' }, folder))
  end)

  it('evaluates examples of a file, and shows what the model answers', function()
    local folder = folder_with()
    assert.equal(0, icot({ 'mine.lua', '--quiet' }, folder).code)
    local function eval(text, ...)
      temporary.write(folder .. '/own.txt', text)
      return icot({ 'eval', 'results/mine/icot-42', '--file', 'own.txt', ... }, folder)
    end
    local shown = eval('1 1 * 2 1||2 1 0 + 0 1 2 0 #### 2 3 1 0\n0 1 * 1 0||0 1 0 + 0 0 0 0 #### 0 1 0 0\n',
                       '--show', '1')
    assert.equal(0, shown.code, shown.err)
    assert.matches('^wrong  1 1 %* 2 1|| #### [^\n]* %(expected 2 3 1 0%)\n\n[^\n]+removed\n', shown.out)
    assert.matches('\nexamples +2 of own.txt\n.*\nby longest carry chain\n', shown.out)
    temporary.write(folder .. '/vocabulary', '1 1 * 2 1||2 1 0 + 0 1 2 0 #### 2 3 1 0\n')
    local named = icot({ 'eval', 'results/mine/icot-42', '--file', 'vocabulary' }, folder)
    assert.matches('\nexamples +1 of ./vocabulary\n', named.out)
    local strange = eval('1||1 1 1 1 #### 2\n1 1 1 1 1|| #### 2\n') -- of no multiplication
    assert.is_nil(strange.out:find('carry chain', 1, true))
    assert.equal(0, strange.code, strange.err)
    assert_fails(1, "own.txt: line 2: vocabulary: 'x' is not among its 16 symbols",
                 eval('1||1 #### 2\n1 x||1 #### 2\n'))
    assert_fails(1, 'eval: give either --file or --split, not both', eval('1||1 #### 2\n', '--split', 'test'))
    assert_fails(1, 'eval: --file: own.txt has an example of 36 tokens, separators included, but the model has a '
                 .. 'context of 21', eval(('1 '):rep(30) .. '1|| #### 2\n'))
  end)

  it('takes reasoning steps of a file as in training, and says where an answer stands nowhere', function()
    local folder = temporary.folder()
    temporary.write(folder .. '/t.txt', '1 2||3 + 4 + #### 5\n2 1||4 + 3 + #### 5\n')
    temporary.write(folder .. '/u.txt', '1 2||3 + 4 + 5 + #### 5\n')
    temporary.write(folder .. '/v.txt', '1 2|| #### 5\n')
    temporary.write(folder .. '/mine.lua', [[return {
      method = 'icot', dataset = { task = 'text', train = 't.txt', valid = 't.txt', test = 't.txt', step_end = '+' },
      removal = { unit = 'step', positions = 'kept' }, schedule = { kind = 'linear', steps_per_token = 1 },
      model = { layers = 1, heads = 1, width = 8, context = 20 }, train = { steps = 4, batch = 2 },
    }]])
    assert.equal(0, icot({ 'mine.lua', '--quiet' }, folder).code)
    local shown = icot({ 'eval', 'results/mine.h5', '--file', 'u.txt' }, folder)
    assert.same({ 0, '' }, { shown.code, shown.err })
    assert.matches('2 of 2 CoT steps removed\nexamples +1 of u.txt\n', shown.out)
    local empty = icot({ 'eval', 'results/mine.h5', '--file', 'v.txt' }, folder)
    assert.equal("icot: eval: --file: v.txt: no CoT in 1 of 1 example, but with positions = 'kept' the "
                 .. "position of the answer depends on the CoT's length\n", empty.err)
  end)

  it('leaves alone what is not its own', function()
    local folder = folder_with()
    for _, name in ipairs { 'vocab.json', 'merges.txt' } do
      temporary.write(folder .. '/results/mine/icot-42/' .. name, 'mine')
      assert_fails(1, ('results/mine/icot-42/%s: already exists; --force overwrites it, --out chooses another path')
        :format(name), icot({ 'mine.lua' }, folder))
      assert.equal('mine', temporary.read(folder .. '/results/mine/icot-42/' .. name))
      os.remove(folder .. '/results/mine/icot-42/' .. name)
    end
    for _, output in ipairs { '..h5', 'a/...h5' } do
      local result = icot({ 'mine.lua', '--out', output }, folder)
      assert.matches('expected the name of a file before .h5', result.err, 1, true)
    end
    assert.matches('name: got', icot({ 'mine.lua', '--set', 'name=..' }, folder).err, 1, true)
    os.execute(("ln -s nowhere '%s/results/mine/no_cot-42'"):format(folder))
    assert_fails(1, 'results/mine/no_cot-42: is a link that leads nowhere, expected the folder of the model',
                 icot({ 'mine.lua' }, folder))
  end)

  it('refuses nonsense in recipes and settings', function()
    local folder = folder_with()
    local function refused(message, ...)
      assert.matches(message, icot({ 'mine.lua', ... }, folder).err, 1, true)
    end
    refused("has 'width' twice", '--set', 'model={"width":8,"width":32}')
    refused('threshold: got 1.5, expected an accuracy', '--set', 'schedule={"kind":"gated","threshold":1.5}')
    temporary.write(folder .. '/mine.lua', "local r = { method = 'icot' }\nr.model = { x = r }\nreturn r")
    refused('tables lie in each other more than 100 deep')
  end)

  it('tells if a dataset is another one now', function()
    local folder = temporary.folder()
    local function examples(text)
      for _, name in ipairs { 'train', 'valid', 'test' } do temporary.write(folder .. '/' .. name .. '.txt', text) end
    end
    examples '1 2||3 #### 4\n2 1||3 #### 4\n'
    temporary.write(folder .. '/own.lua', [[return { method = 'explicit_cot',
      dataset = { task = 'text', train = 'train.txt', valid = 'valid.txt', test = 'test.txt' },
      model = { layers = 1, heads = 1, width = 8 }, train = { steps = 2, batch = 2 } }]])
    assert.equal(0, icot({ 'own.lua', '--quiet' }, folder).code)
    assert.equal('', icot({ 'eval', 'results/own.h5' }, folder).err)
    examples '1 2||3 #### 4\n'
    assert.matches('the dataset is not what .* was trained with', icot({ 'eval', 'results/own.h5' }, folder).err)
    examples '1 5||3 #### 4\n'
    for _, name in ipairs { 'eval', 'frontier' } do
      assert.matches("dataset: id %d is '%d' in the dataset, but", icot({ name, 'results/own.h5' }, folder).err)
    end
  end)

  it('takes no more threads from the environment than it has places for', function()
    local shown = program.shell([[OMP_NUM_THREADS=99999 LUA_PATH='lua/?.lua;;' luajit -e "
      local core = require 'icot.engine.core'; core.engine(); print(core.C.icot_threads())"]])
    assert.same({ 0, '1024\n' }, { shown.code, shown.out })
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
    local function model(name) return small.model_bytes(('%s/%s.h5'):format(folder, name)) end
    assert.is_true(model('a/icot-42') == model('b/icot-42'))
    assert.equal(0, icot({ 'mine.lua', '--out', 'c.h5', '--threads', '2', '--seed', '43' }, folder).code)
    assert.is_false(model('a/icot-42') == model('c/icot-43'))
  end)

  it('goes on with the other runs when one fails, and exits with 1', function()
    local folder = folder_with()
    local result = icot({ 'mine.lua', '--set', 'arms.icot.removal.smoothing=1', '--set',
      'arms.no_cot.divergence.loss_above=1e-3', '--quiet' }, folder)
    assert.equal(1, result.code)
    assert.matches('^icot: no_cot seed 42: [^\n]*loss[^\n]*\n$', result.err)
    assert.matches('\nno_cot [^\n]* failed\n', result.out)
    assert.matches('\nicot [^\n]* finished\n', result.out)
  end)

  -- Starts a long study, does something to it ($icot is its process) once it trains, and waits for its end.
  local function while_it_trains(folder, action, start)
    return program.shell(([[cd %s
      %s %s mine.lua --set train.steps=1000000 --set arms.no_cot.train.log_every=1 &
      icot=$!
      for wait in $(seq 100); do [ -e results/mine/no_cot-42.h5 ] && break; sleep 0.1; done
      sleep 0.3
      %s
      wait $icot]]):format(folder, start or '', program.icot, action))
  end

  for name, code in pairs { INT = 130, TERM = 143, HUP = 129 } do
    it(('ends cleanly on SIG%s'):format(name), function()
      local folder = folder_with()
      local result = while_it_trains(folder, ('kill -%s $icot'):format(name))
      assert.equal(code, result.code, result.err)
      assert.matches('\nicot: stopping after this step; a second signal stops at once\n', result.err, 1, true)
      assert.matches('\nno_cot [^\n]* interrupted\n', result.out)
      assert.is_nil(result.out:find('\nicot'))
      assert.equal('\137HDF', temporary.read(folder .. '/results/mine/no_cot-42.h5'):sub(1, 4))
    end)
  end

  it('ends at once on a second signal', function()
    local endless = recipes.tiny():gsub("schedule = %b{}", 'schedule = function() while true do end end')
      :gsub("{ name = 'no_cot', method = 'no_cot' }", "{ name = 'no_cot' }")
    local result = while_it_trains(folder_with(endless), 'kill -INT $icot; sleep 0.2; kill -TERM $icot')
    assert.same({ 143, '' }, { result.code, result.out })
    assert.matches('icot: stopping after this step', result.err, 1, true)
  end)

  it('goes on when nohup says so', function()
    local result = while_it_trains(folder_with(), 'kill -HUP $icot; sleep 0.3; kill -TERM $icot', 'nohup')
    assert.equal(143, result.code, result.err)
  end)

  it('goes on when nobody reads its progress any more', function()
    local folder = folder_with()
    local result = program.shell(('cd %s; (%s mine.lua; echo $? > code) 2>&1 >out | true'):format(folder, program.icot))
    assert.same({ code = 0, out = '', err = '' }, result)
    assert.equal('0\n', temporary.read(folder .. '/code'))
    assert.matches('\nicot +42 [^\n]*', temporary.read(folder .. '/out'))
  end)

  it('ends quietly when nobody reads its examples any more', function()
    local folder = temporary.folder()
    local result = program.shell(('cd %s; (%s data multiplication --set train=0 --set test=1000 --count 1000; '
      .. 'echo $? > code) | head -1'):format(folder, program.icot))
    assert.same({ 0, '', '141\n' }, { result.code, result.err, temporary.read(folder .. '/code') })
    assert.matches('^[%d ]+%*[^\n]+\n$', result.out)
  end)

  it('says which file a limit of the system is too small for', function()
    local folder = folder_with()
    local result = program.shell(('cd %s; ulimit -f 40; %s mine.lua --quiet --set model.width=128')
      :format(folder, program.icot))
    assert.equal(1, result.code, result.err)
    assert.matches('icot: no_cot seed 42: run file results/mine/no_cot-42.h5: cannot write: File too large\n',
      result.err, 1, true)
  end)

  it('writes no message into a file when a standard stream is closed', function()
    local folder = folder_with()
    local function run(redirections, path)
      return program.shell(('cd %s; %s mine.lua --out %s.h5 %s'):format(folder, program.icot, path, redirections)).code
    end
    local function end_state(path)
      return small.read(folder .. '/' .. path).attributes.end_state
    end
    assert.equal(0, run('2>&-', 'a'))
    assert.equal(1, run('<&- >&- 2>&-', 'b')) -- the table of results is lost
    for _, path in ipairs { 'a/no_cot-42.h5', 'a/icot-42.h5', 'b/no_cot-42.h5', 'b/icot-42.h5' } do
      assert.equal('finished', end_state(path))
    end
  end)

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

  -- A copy of the program in a prefix of its own, with the other parts linked to.
  local function installed_in(prefix)
    local share = program.icot:gsub('/bin/icot$', '/share')
    local result = program.shell(("mkdir -p '%s/bin' && cp '%s' '%s/bin/icot' && ln -s '%s' '%s/share'")
      :format(prefix, program.icot, prefix, share, prefix))
    assert.equal(0, result.code, result.err)
  end

  it('takes the modules in C that the installation brings along, whatever LUA_PATH names', function()
    local prefix, elsewhere = temporary.folder(), temporary.folder()
    installed_in(prefix)
    temporary.write(elsewhere .. '/lfs.lua', "error 'not this one'")
    local own = temporary.write(prefix .. '/lib/icot/lua/lfs.so', 'no library')
    local result = program.shell(("LUA_PATH='%s/?.lua;;' '%s/bin/icot' --version"):format(elsewhere, prefix))
    assert.equal(1, result.code)
    assert.matches('icot: ' .. own, result.err, 1, true)
  end)

  it('says which part of the installation is missing', function()
    local prefix = temporary.folder()
    installed_in(prefix)
    local result = program.shell(("'%s/bin/icot' --version"):format(prefix))
    assert.equal(1, result.code)
    assert.matches('^icot: cannot load the core: .*/libicot%.so', result.err)
  end)

  it('says where it cannot lie', function()
    local prefix = temporary.folder() .. '/a;b'
    installed_in(prefix)
    local result = program.shell(("'%s/bin/icot' --version"):format(prefix))
    assert_fails(1, prefix .. ': no ; or ? may be in this path; move icot elsewhere', result)
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
