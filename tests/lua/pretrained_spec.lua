-- Models from folders that Hugging Face or icot has saved: whatever form the weights have, the model is the same.
local bit = require 'bit'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local expect = require 'tests.lua.support.expect'
local gpt2 = require 'icot.gpt2'
local json = require 'icot.base.json'
local lfs = require 'lfs'
local model_file = require 'icot.model.model_file'
local pretrained = require 'icot.gpt2.pretrained'
local recipe = require 'icot.recipe'
local recipes = require 'tests.lua.support.recipes'
local safetensors = require 'icot.tensor.safetensors'
local scope = require 'icot.engine.scope'
local temporary = require 'tests.lua.support.temporary'
local trainer = require 'icot.training.trainer'
local vocabulary = require 'icot.text.vocabulary'

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

local INDEX = 'model.safetensors.index.json'

-- Splits the model's tensors among two files; gives where each is.
local function shard()
  local map, shards = {}, { {}, {} }
  scope.run(function()
    for i, each in ipairs(model:hugging_face_tensors()) do
      map[each.name] = ('model-0000%d-of-00002.safetensors'):format(i % 2 + 1)
      shards[i % 2 + 1][each.name] = each.tensor
    end
    for i, tensors in ipairs(shards) do
      safetensors.save_file(tensors, ('%s/model-0000%d-of-00002.safetensors'):format(folder, i))
    end
  end)
  os.remove(folder .. '/model.safetensors')
  return map
end

local function write_index(map)
  temporary.write(folder .. '/' .. INDEX, json.encode { metadata = { total_size = 1 }, weight_map = map })
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
      ['{"model_type": "gpt2"'] = 'is not valid JSON', ['"gpt2"'] = "got 'gpt2', expected a table",
      [''] = 'is not valid JSON',
      ['{"model_type": "gpt2", "n_embd": 8, "n_embd": 8}'] = "has 'n_embd' twice",
      ['{"model_type": "gpt2", "n_embd": NaN}'] = 'is not valid JSON',
    } do
      temporary.write(folder .. '/config.json', text)
      refused('config.json: ' .. part)
    end
  end)

  -- Flips one bit of each byte. What that changes may be a name that says nothing to us; all else is told in one line.
  local function flip_bits(name)
    local path, loaded = folder .. '/' .. name, 0
    local text = temporary.read(path)
    for at = 1, #text do
      local file = assert(io.open(path, 'wb'))
      file:write(text:sub(1, at - 1), string.char(bit.bxor(text:byte(at), 2 ^ (at % 8))), text:sub(at + 1))
      file:close()
      local ok, problem = pcall(pretrained.inspect, folder, 'test')
      assert(ok or errors.is_user_error(problem) and not problem.message:find('\n'), tostring(problem))
      loaded = loaded + (ok and 1 or 0)
    end
    assert(loaded > 0 and loaded < #text / 2, loaded)
  end

  it('a config.json in which a bit is flipped, unless it says the same', function()
    flip_bits('config.json')
  end)

  it('an index in which a bit is flipped, unless it says the same', function()
    change_config { n_layer = 1 }
    model:free()
    model = make_model { layers = 1 }
    write_index(shard())
    flip_bits(INDEX)
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
    refused("tensor 'wte.weight' appears twice, with and without")
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

describe('shards', function()
  it('make the same model', function()
    write_index(shard())
    local loaded = gpt2.from_pretrained(folder)
    assert_same(model, loaded)
    loaded:free()
  end)

  it('are checked', function()
    local map, before = shard(), core.memory().live
    local function refused(...)
      expect.mentions(expect.user_error(gpt2.from_pretrained, folder), folder .. '/', ...)
      assert.equal(before, core.memory().live)
    end
    local function with(name, shard_name)
      local changed = {}
      for key, value in pairs(map) do changed[key] = value end
      changed[name] = shard_name
      write_index(changed)
    end
    local wte = 'transformer.wte.weight'
    for _, name in ipairs { '../x.safetensors', '/etc/passwd', 'a/b.safetensors', '..safetensors', 'model.bin', '',
                            '.x.safetensors' } do
      with(wte, name)
      refused(INDEX, "tensor 'transformer.wte.weight' lies in '" .. name .. "', expected the name of a .safetensors")
    end
    with(wte, 3)
    refused(INDEX, 'lies in 3')
    with(wte, 'model-00003-of-00002.safetensors')
    refused('model-00003-of-00002.safetensors: cannot open it')
    with(wte, map[wte]:find('1%-of') and 'model-00002-of-00002.safetensors' or 'model-00001-of-00002.safetensors')
    refused("tensor 'transformer.wte.weight': it is not in the file")
    with(wte, nil)
    refused(INDEX .. ': missing tensors: wte.weight')
    with('wte.weight', map[wte])
    refused("tensor 'wte.weight'")
    for text, part in pairs {
      ['{"weight_map": {'] = 'is not valid JSON', ['3'] = 'weight_map is missing', ['{}'] = 'weight_map is missing',
      ['{"weight_map": 3}'] = 'weight_map is missing', ['{"weight_map":{"a":"b","a":"b"}}'] = "has 'a' twice",
      ['{"weight_map":["x.safetensors"]}'] = 'weight_map: tensor 1 lies in',
    } do
      temporary.write(folder .. '/' .. INDEX, text)
      refused(INDEX .. ': ' .. part)
    end
  end)
end)

-- ---- Recipes --------------------------------------------------------------------------------------

local head = [[
  method = 'no_cot', dataset = { task = 'multiplication', digits = 2, train = 40, valid = 8, test = 8 },
  train = { steps = 2, batch = 4 }, evaluate = { examples = 4, samples = 1 },
]]

-- A folder with a model that fits that dataset.
local function fitting_folder(changes)
  local path = temporary.folder()
  local config = { vocab_size = 40, context = 64 }
  for name, value in pairs(changes or {}) do config[name] = value end
  local made = make_model(config)
  model_file.save(path, made, words)
  made:free()
  os.remove(path .. '/vocabulary.json') -- that of the dataset is another
  return path
end

-- Loads a recipe whose fields begin with those above; FOLDER in it stands for the model's.
local function load_recipe(more, model_folder)
  local text = ("local icot = require 'icot'\nreturn {" .. head .. more .. '}'):gsub('FOLDER', model_folder or folder)
  return recipe.load(recipes.folder_with(text) .. '/mine.lua')
end

local silent = require('tests.lua.support.small_training').silent

describe('a recipe with a pretrained model', function()
  it('gets its sizes from config.json', function()
    local got = load_recipe("model = { pretrained = 'FOLDER', dropout = 0.1 },").runs[1].config.model
    assert.same({ folder, 2, 2, 8, 6, 0.1 }, { got.pretrained, got.layers, got.heads, got.width, got.context,
                                               got.dropout })
    assert.equal(9, load_recipe("model = { pretrained = 'FOLDER', context = 9 },").runs[1].config.model.context)
  end)

  it('may be given one that is loaded, which stands for its folder', function()
    local before = core.memory().live
    local loaded = load_recipe([[
      model = icot.gpt2.from_pretrained('FOLDER', { context = 7, dropout = 0.2 }),
      arms = { { name = 'a' }, { name = 'b', model = icot.gpt2.from_pretrained('FOLDER') },
               { name = 'c', model = { layers = 1, heads = 1, width = 4 } } },]])
    assert.equal(before, core.memory().live)
    local a, b, c = loaded.runs[1].config.model, loaded.runs[2].config.model, loaded.runs[3].config.model
    assert.same({ folder, 7, 0.2 }, { a.pretrained, a.context, a.dropout })
    assert.same({ folder, 7, 0 }, { b.pretrained, b.context, b.dropout }) -- arms are laid over the recipe
    assert.same({ nil, 1, 4 }, { c.pretrained, c.layers, c.width })
  end)

  it('is refused with sizes of its own, a folder that is none, a model without origin', function()
    local function refused(more, ...)
      expect.mentions(expect.user_error(load_recipe, more), ...)
    end
    refused("model = { pretrained = 'FOLDER', layers = 2 },", 'model: give either pretrained or layers, not both')
    refused("model = { pretrained = 'FOLDER', preset = 'small' },", 'give either pretrained or preset')
    refused("model = { pretrained = 'gpt2' },", "model.pretrained: got 'gpt2', expected a folder")
    refused("model = icot.gpt2.from_pretrained('gpt2'),", "from_pretrained: got 'gpt2', expected a folder")
    refused('model = icot.gpt2.new({ vocab_size = 4, layers = 1, heads = 1, width = 4, context = 4, dropout = 0 }, 1),',
            'model: got a model made in the recipe')
  end)

  local function train(more, model_folder, warnings)
    local run = load_recipe(more, model_folder).runs[1]
    local out = temporary.folder()
    run.output, run.model_output = out .. '/x.h5', out .. '/x'
    trainer.run(run, { progress = setmetatable({
      warn = function(_, text) table.insert(warnings or {}, text) end,
    }, { __index = silent }) })
    return run.model_output
  end

  it('says so if nobody knows what its ids stand for, and takes no half of a tokenizer', function()
    local start, warnings = fitting_folder(), {}
    train("model = { pretrained = 'FOLDER' },", start, warnings)
    assert.equal(1, #warnings)
    expect.mentions(warnings[1], start .. ' has no tokenizer: the 16 symbols of the dataset take its first ids')
    temporary.write(start .. '/merges.txt', '#version: 0.2\n')
    local problem = expect.user_error(train, "model = { pretrained = 'FOLDER' },", start)
    expect.mentions(problem, 'there is no tokenizer.json, nor vocab.json and merges.txt')
  end)

  it('starts from its weights, and saves them with the same sizes', function()
    local start = fitting_folder()
    local path = train("model = { pretrained = 'FOLDER', context = 70 }, optimizer = { lr = 1e-30 },", start)
    local before, after = gpt2.from_pretrained(start, { context = 70 }), gpt2.from_pretrained(path)
    assert.same(before.transformer.wte.weight:totable(), after.transformer.wte.weight:totable()) -- 1e-30 is too little
    assert.same(before.transformer.wpe.weight:totable(), after.transformer.wpe.weight:totable())
    assert.equal(40, after.config.vocab_size)
    before:free()
    after:free()
    assert.equal('file', lfs.attributes(path .. '/vocabulary.json', 'mode'))
  end)

  it('writes a dataset of any symbols that the model knows in its ids', function()
    local first = train 'model = { layers = 1, heads = 1, width = 8, context = 40 },'
    local examples = temporary.write(temporary.folder() .. '/own.txt', '2 1||3 7 #### 4\n1 2||3 #### 4\n')
    local more = ("dataset = { task = 'text', train = '%s' }, model = { pretrained = 'FOLDER' },"):format(examples)
    local before, after = model_file.vocabulary(first), model_file.vocabulary(train(more, first))
    assert.same(before.symbols, after.symbols)
  end)

  it('needs a checkpoint that has all symbols and positions', function()
    local small = fitting_folder { vocab_size = 5 }
    local fitting = "model = { pretrained = 'FOLDER' },"
    expect.mentions(expect.user_error(train, fitting, small), 'model.pretrained: the dataset has ',
                    'the checkpoint knows 5; it can only go on with those',
                    ("dataset.tokenizer = '%s'"):format(small))
    local other = fitting_folder()
    temporary.write(other .. '/vocabulary.json', json.encode(words:to_table()))
    expect.mentions(expect.user_error(train, fitting, other),
                    other .. "/vocabulary.json: '0' is not among its 5 symbols")
    local examples = temporary.write(temporary.folder() .. '/own.txt', '2 1||3 7 #### 4\n')
    local own_ids = ("dataset = { task = 'text', train = '%s', tokenizer = 'word' },"):format(examples)
    expect.mentions(expect.user_error(train, own_ids .. fitting, other),
                    "model.pretrained: id 4 is '3' in the dataset, but 'x' in " .. other .. '/vocabulary.json')
    for text, part in pairs { ['{"symbols": ['] = 'is not valid JSON', ['{"a":1,"a":2}'] = "has 'a' twice",
                              ['3'] = 'vocabulary: expected a table of',
                              ['{"symbols": ["<eos>", "####"]}'] = "vocabulary: got the tokenizer nil" } do
      temporary.write(other .. '/vocabulary.json', text)
      expect.mentions(expect.user_error(train, fitting, other), other .. '/vocabulary.json: ' .. part)
    end
    local short = fitting_folder { context = 6 }
    expect.mentions(expect.user_error(train, fitting, short), 'but the context is only 6; raise model.context')
  end)
end)
