-- Models from folders that Hugging Face or icot has saved: whatever form the weights have, the model is the same.
local expect = require 'tests.lua.support.expect'
local core = require 'icot.core'
local gpt2 = require 'icot.gpt2'
local json = require 'icot.json'
local model_file = require 'icot.model_file'
local safetensors = require 'icot.safetensors'
local scope = require 'icot.scope'
local temporary = require 'tests.lua.support.temporary'
local vocabulary = require 'icot.vocabulary'

local words = vocabulary.new('word', { '1', '2', 'x' })
local folder, model

local function make_model(changes)
  local config = { vocab_size = 5, layers = 2, heads = 2, width = 8, context = 6, dropout = 0, initializer_range = 0.5 }
  for name, value in pairs(changes or {}) do config[name] = value end
  return gpt2.new(config, 3)
end

-- Changes fields of the folder's config.json; json.null stands for null.
local function change_config(changes)
  local path = folder .. '/config.json'
  local config = assert(json.decode(temporary.read(path)))
  for name, value in pairs(changes) do config[name] = value end
  temporary.write(path, json.encode(config))
end

-- Saves the model's tensors under names (and in numbers) that `change` makes of them.
local function change_weights(change)
  scope.run(function()
    local tensors = {}
    for _, each in ipairs(model:hugging_face_tensors()) do tensors[each.name] = each.tensor end
    safetensors.save_file(change(tensors) or tensors, folder .. '/model.safetensors')
  end)
end

-- Both have the same parameters, bit for bit.
local function assert_same(expected, found)
  local others = found:named_parameters()
  for i, each in ipairs(expected:named_parameters()) do
    assert.equal(each.name, others[i].name)
    local a, n = each.tensor:read()
    local b, m = others[i].tensor:read()
    assert.equal(n, m)
    for k = 0, n - 1 do assert(a[k] == b[k], each.name) end
  end
end

before_each(function()
  folder = temporary.folder()
  model = make_model()
  model_file.save(folder, model, words)
end)

after_each(function()
  model:free()
  temporary.clean()
end)

describe('from_pretrained', function()
  it('gives back what was saved, bit for bit, and takes no other memory', function()
    local before = core.memory().live
    local loaded = gpt2.from_pretrained(folder)
    assert_same(model, loaded)
    assert.equal(0, loaded.config.dropout)
    assert.same({ 5, 2, 2, 8, 6 }, { loaded.config.vocab_size, loaded.config.layers, loaded.config.heads,
                                     loaded.config.width, loaded.config.context })
    loaded:free()
    assert.equal(before, core.memory().live)
  end)

  it('keeps the weights when it saves and loads again', function()
    local loaded = gpt2.from_pretrained(folder, { dropout = 0.25 })
    assert.equal(0.25, loaded.config.dropout)
    local again = folder .. '/again'
    model_file.save(again, loaded, words)
    assert.equal(temporary.read(folder .. '/model.safetensors'), temporary.read(again .. '/model.safetensors'))
    loaded:free()
  end)

  it('takes names without transformer., ignores old buffers and a tied head', function()
    change_weights(function(tensors)
      local short = {}
      for name, each in pairs(tensors) do short[name:gsub('^transformer%.', '')] = each end
      short['lm_head.weight'] = short['wte.weight']
      short['h.0.attn.bias'] = short['ln_f.bias']
      short['h.1.attn.masked_bias'] = short['ln_f.bias']
      return short
    end)
    local loaded = gpt2.from_pretrained(folder)
    assert_same(model, loaded)
    loaded:free()
  end)

  it('honours the epsilon of layer norms', function()
    change_config { layer_norm_epsilon = 0.125 }
    local loaded = gpt2.from_pretrained(folder)
    assert.equal(0.125, loaded.transformer.h[2].ln_1.eps)
    assert.equal(0.125, loaded.transformer.h[1].ln_2.eps)
    assert.equal(0.125, loaded.transformer.ln_f.eps)
    assert.equal(0.125, loaded:hugging_face_config().layer_norm_epsilon)
    loaded:free()
  end)

  it('repeats the last position for a longer context, and cuts for a shorter one', function()
    local given = model.transformer.wpe.weight:totable()
    local longer = gpt2.from_pretrained(folder, { context = 9 })
    local rows = longer.transformer.wpe.weight:totable()
    assert.equal(9, #rows)
    for row = 1, 9 do assert.same(given[math.min(row, 6)], rows[row]) end
    assert.equal(9, longer.config.context)
    local shorter = gpt2.from_pretrained(folder, { context = 2 })
    assert.same({ given[1], given[2] }, shorter.transformer.wpe.weight:totable())
    longer:free()
    shorter:free()
  end)
end)

describe('from_pretrained refuses', function()
  local before
  before_each(function() before = core.memory().live end)

  local function refused(...)
    local message = expect.user_error(gpt2.from_pretrained, folder)
    expect.mentions(message, ...)
    assert.equal(before, core.memory().live) -- nothing is left behind
  end

  it('what is no folder, or has no weights', function()
    expect.mentions(expect.user_error(gpt2.from_pretrained, 'gpt2'), "got 'gpt2', expected a folder")
    expect.mentions(expect.user_error(gpt2.from_pretrained), 'got nil, expected a folder')
    os.remove(folder .. '/model.safetensors')
    refused(folder .. ': has no model.safetensors')
    temporary.write(folder .. '/pytorch_model.bin', 'PK')
    refused("has only pytorch_model.bin, which icot doesn't read; convert it", 'save_pretrained')
    os.remove(folder .. '/config.json')
    refused('config.json: cannot open it: No such file')
  end)

  it('a config.json that is broken', function()
    for text, part in pairs {
      ['{"model_type": "gpt2"'] = 'not valid JSON', ['"gpt2"'] = "got 'gpt2', expected a table",
      [''] = 'not valid JSON',
      ['{"model_type": "gpt2", "n_embd": 8, "n_embd": 8}'] = "it has 'n_embd' twice",
      ['{"model_type": "gpt2", "n_embd": NaN}'] = 'not valid JSON',
    } do
      temporary.write(folder .. '/config.json', text)
      refused('config.json: ' .. part)
    end
  end)

  for name, case in pairs {
    model_type = { 'llama', "model_type: got 'llama', expected 'gpt2'" },
    activation_function = { 'relu', "activation_function: got 'relu', expected 'gelu_new'" },
    n_layer = { 2.5, 'n_layer: got 2.5, expected an integer from 1 to 1000' },
    n_head = { 3, 'n_embd: got 8, expected a multiple of n_head (3)' },
    n_inner = { 12, 'n_inner: got 12, expected 4 times n_embd (32)' },
    layer_norm_epsilon = { 'small', "layer_norm_epsilon: got 'small', expected a number" },
    scale_attn_weights = { false, 'scale_attn_weights: got false, expected true' },
    scale_attn_by_inverse_layer_idx = { true, 'scale_attn_by_inverse_layer_idx: got true, expected false' },
    add_cross_attention = { true, 'add_cross_attention: got true, expected false' },
    tie_word_embeddings = { false, 'missing tensors: lm_head.weight' },
    n_embd = { 4, 'has shape', 'but config.json asks for' },
    vocab_size = { 50257, 'tensor wte.weight has shape (5,8), but config.json asks for (50257,8)' },
    n_positions = { 7, 'tensor wpe.weight has shape (6,8), but config.json asks for (7,8)' },
  } do
    it('a config.json with another ' .. name, function()
      change_config { [name] = case[1] }
      refused(unpack(case, 2))
    end)
  end

  it('missing, unknown and misshaped tensors, and a head of its own', function()
    change_weights(function(tensors)
      tensors['transformer.h.0.ln_1.bias'], tensors['transformer.h.1.ln_1.bias'] = nil, nil
    end)
    refused('model.safetensors: missing tensors: h.0.ln_1.bias, h.1.ln_1.bias')
    change_weights(function(tensors) tensors['transformer.h.2.ln_1.bias'] = tensors['transformer.ln_f.bias'] end)
    refused("tensors that GPT-2 doesn't have: 'h.2.ln_1.bias'")
    change_weights(function(tensors) tensors['wte.weight'] = tensors['transformer.wte.weight'] end)
    refused("tensor 'wte.weight' is there twice, with and without")
    change_weights(function(tensors) tensors['transformer.ln_f.bias'] = tensors['transformer.wpe.weight'] end)
    refused('tensor ln_f.bias has shape (6,8), but config.json asks for (8)')
    change_weights(function(tensors) tensors['lm_head.weight'] = tensors['transformer.wte.weight'] * 2 end)
    refused('tensor lm_head.weight differs from wte.weight')
  end)

  it('options that it does not have', function()
    expect.mentions(expect.user_error(gpt2.from_pretrained, folder, { contxt = 3 }), 'did you mean context?')
    expect.mentions(expect.user_error(gpt2.from_pretrained, folder, { dropout = 1 }), 'dropout: got 1')
  end)
end)
