-- The folder of a trained model, read back without the code that wrote it.
local ffi = require 'ffi'
local gpt2 = require 'icot.gpt2'
local core = require 'icot.engine.core'
local json = require 'icot.base.json'
local model_file = require 'icot.model.model_file'
local run_paths = require 'icot.results.run_paths'
local temporary = require 'tests.lua.support.temporary'
local vocabulary = require 'icot.text.vocabulary'

--- Header and data of a safetensors file.
local function read_safetensors(path)
  local text = temporary.contents(path)
  local length = tonumber(ffi.cast('const uint64_t *', text)[0])
  local header = assert(json.decode(text:sub(9, 8 + length)))
  header.__metadata__ = nil
  return header, text:sub(9 + length)
end

describe('a model folder', function()
  local folder
  before_each(function() folder = temporary.folder() end)
  after_each(temporary.clean)

  it('lies beside the run file', function()
    assert.equal('results/mult', run_paths.model_folder('results/mult.h5'))
  end)

  it('holds weights, configuration and vocabulary', function()
    local words = vocabulary.new('word', { '1', '2', '"\\' })
    local model = gpt2.new({ vocab_size = 5, layers = 2, heads = 2, width = 8, context = 6, dropout = 0 }, 1)
    local path = folder .. '/deep/run-model'
    model_file.save(path, model, vocabulary.new('word', { '1', '2', '3' }))
    local before = core.memory().live
    model_file.save(path, model, words) -- replaces all files
    assert.equal(before, core.memory().live)

    local config = assert(json.decode(temporary.contents(path .. '/config.json')))
    assert.equal('gpt2', config.model_type)
    assert.equal(5, config.vocab_size)
    assert.equal(0, config.eos_token_id)
    assert.is_false(model_file.has_thoughts(path))
    assert.same({ tokenizer = 'word', symbols = { '<eos>', '####', '1', '2', '"\\' } },
                json.decode(temporary.contents(path .. '/vocabulary.json')))

    local header, data = read_safetensors(path .. '/model.safetensors')
    assert.same({ 5, 8 }, header['transformer.wte.weight'].shape)
    assert.same({ 8, 24 }, header['transformer.h.1.attn.c_attn.weight'].shape) -- (in, out)
    local parameters, count = 0, 0
    for _, each in ipairs(model:named_parameters()) do
      parameters = parameters + 1
      local info = ffi.new('icot_tensor_info')
      core.check(core.C.icot_tensor_describe(core.engine(), each.tensor.handle, info))
      local offsets = header[each.name].data_offsets
      assert.equal(tonumber(info.numel) * 4, offsets[2] - offsets[1])
      count = count + tonumber(info.numel)
    end
    assert.equal(4 * count, #data)
    local names = 0
    for _ in pairs(header) do names = names + 1 end
    assert.equal(parameters, names)

    local weight = model.transformer.wte.weight
    local values = ffi.new('float[?]', 40)
    core.check(core.C.icot_tensor_read(core.engine(), weight.handle, values, 40))
    local offsets = header['transformer.wte.weight'].data_offsets
    assert.equal(ffi.string(values, 160), data:sub(offsets[1] + 1, offsets[2]))
  end)

  it('says what is wrong when it cannot be written', function()
    local words = vocabulary.new('word', {})
    local model = gpt2.new({ vocab_size = 2, layers = 1, heads = 1, width = 2, context = 2, dropout = 0 }, 1)
    local ok, message = pcall(model_file.save, '/proc/x-model', model, words)
    assert.is_false(ok)
    assert.truthy(tostring(message):find('cannot make the folder /proc/x%-model'))
  end)
end)
