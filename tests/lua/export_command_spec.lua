--- `icot export`: what it makes, and what it answers to mistakes.
local expect = require 'tests.lua.support.expect'
local gpt2 = require 'icot.gpt2'
local lfs = require 'lfs'
local model_file = require 'icot.model.model_file'
local program = require 'tests.lua.support.program'
local temporary = require 'tests.lua.support.temporary'
local vocabulary = require 'icot.text.vocabulary'

local HDF5 = '\137HDF\r\n\26\n'
local folder

local function icot(...)
  return program.run_in(folder, 'export', ...)
end

-- Expects the command to fail with one line that has these parts, and to leave nothing behind.
local function refused(arguments, ...)
  local done = icot(unpack(arguments))
  assert.equal(1, done.code, done.err)
  assert.equal('', done.out)
  assert.matches('^icot: [^\n]*\n$', done.err)
  expect.mentions(done.err, ...)
  for name in lfs.dir(folder) do assert(not name:find('partial'), name) end
end

local function save_model(path)
  local model = gpt2.new({ vocab_size = 4, layers = 1, heads = 2, width = 8, context = 6, dropout = 0 }, 1)
  model_file.save(path, model, vocabulary.new('word', { 'a', 'b' }))
  model:free()
end

local function assert_same_file(name, from, to)
  local text = assert(temporary.read(('%s/%s/%s'):format(folder, from, name)))
  assert.equal(text, temporary.read(('%s/%s/%s'):format(folder, to, name)))
end

before_each(function()
  folder = temporary.folder()
  temporary.write(folder .. '/results/mult.h5', HDF5)
  save_model(folder .. '/results/mult')
end)
after_each(temporary.clean)

describe('icot export', function()
  it('makes a folder with the model, its configuration and its vocabulary', function()
    local done = icot('results/mult.h5', 'models/mult/')
    assert.equal('', done.err)
    assert.equal('models/mult: config.json, model.safetensors, vocabulary.json\n', done.out)
    for _, name in ipairs { 'config.json', 'model.safetensors', 'vocabulary.json' } do
      assert_same_file(name, 'results/mult', 'models/mult')
    end
    local names = {}
    for name in lfs.dir(folder .. '/models') do names[#names + 1] = name end
    assert.equal(3, #names) -- with . and ..
    local model = gpt2.from_pretrained(folder .. '/models/mult')
    assert.equal(4, model.config.vocab_size)
    model:free()
  end)

  it('takes the files of a tokenizer along, and leaves others', function()
    temporary.write(folder .. '/results/mult/merges.txt', 'a b\n')
    temporary.write(folder .. '/results/mult/notes.txt', 'mine')
    local done = icot('results/mult.h5', 'out')
    assert.equal('out: config.json, model.safetensors, vocabulary.json, merges.txt\n', done.out)
    assert_same_file('merges.txt', 'results/mult', 'out')
  end)

  it('replaces a model only when it is told to, and never anything else', function()
    save_model(folder .. '/old')
    temporary.write(folder .. '/old/config.json', 'old')
    temporary.write(folder .. '/old/merges.txt', 'old')
    refused({ 'results/mult.h5', 'old' }, 'old: already exists; --force replaces it')
    assert.equal('old', temporary.read(folder .. '/old/config.json'))
    assert.equal('', icot('results/mult.h5', 'old', '--force').err)
    assert_same_file('config.json', 'results/mult', 'old')
    assert.is_nil(temporary.read(folder .. '/old/merges.txt'))

    temporary.write(folder .. '/home/letter.txt', 'mine')
    refused({ 'results/mult.h5', 'home', '--force' }, 'home: holds letter.txt, which is not part of a model')
    assert.equal('mine', temporary.read(folder .. '/home/letter.txt'))
    refused({ 'results/mult.h5', 'home/letter.txt', '--force' }, 'letter.txt: is a file, expected a folder to make')
  end)

  it('takes a folder with a model, as a checkpoint is', function()
    assert.equal(0, icot('results/mult', 'out').code)
    refused({ 'datasets', 'out', '--force' }, 'datasets: there is no such run')
  end)

  it('refuses what is no run, or has no model', function()
    refused({ 'none.h5', 'out' }, 'none.h5: there is no such run')
    temporary.write(folder .. '/recipe.lua', 'return {}')
    refused({ 'recipe.lua', 'out' }, 'recipe.lua: is a recipe')
    temporary.write(folder .. '/results/failed.h5', HDF5)
    refused({ 'results/failed.h5', 'out' }, 'there is no model in results/failed')
    assert.equal(2, icot('results/mult.h5').code)
  end)

  it('names the runs of a study', function()
    temporary.write(folder .. '/results/both.h5', HDF5)
    for _, name in ipairs { 'a-1.h5', 'a-1/model.safetensors', 'a-1.frontier.h5', 'b-1.h5', 'b-1/model.safetensors' } do
      temporary.write(folder .. '/results/both/' .. name, HDF5)
    end
    refused({ 'results/both.h5', 'out' }, 'is a study; name one of its runs, such as results/both/a-1.h5')
  end)

  it('makes one whole folder, however many try at once', function()
    local one = ("cd '%s' && { '%s' export results/mult.h5 out && echo made; } 2>> err >> done & "):format(
      folder, program.icot)
    os.execute(one:rep(4) .. 'wait')
    local _, made = temporary.read(folder .. '/done'):gsub('made', '')
    local _, refused_count = temporary.read(folder .. '/err'):gsub('exists', '')
    assert.same({ 1, 3 }, { made, refused_count })
    for _, name in ipairs { 'config.json', 'model.safetensors', 'vocabulary.json' } do
      assert.is_truthy(temporary.read(folder .. '/out/' .. name), name)
    end
    assert.is_nil(temporary.read(folder .. '/out.partial-1/config.json'))
  end)

  it('refuses a model that is damaged', function()
    local path = folder .. '/results/mult/model.safetensors'
    temporary.write(path, temporary.read(path):sub(1, -2))
    refused({ 'results/mult.h5', 'out' }, 'model.safetensors: ')
    assert.is_nil(lfs.attributes(folder .. '/out'))
  end)

  it('says when the folder cannot be made', function()
    refused({ 'results/mult.h5', '/proc/out' }, 'cannot make this folder')
    refused({ 'results/mult.h5', '' }, 'DIR is empty')
  end)
end)
