--- Byte-level BPE: the ids of Hugging Face's tokenizers (made by tests/reference/make_tokenizer_fixtures.py), files
--- that are broken in every way, and the interface that datasets use.
local ffi = require 'ffi'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local expect = require 'tests.lua.support.expect'
local json = require 'icot.base.json'
local temporary = require 'tests.lua.support.temporary'
local tokenizers = require 'tests.lua.support.tokenizers'

local message_of, assert_mentions = expect.user_error, expect.mentions

local PAIR, SINGLE = tokenizers.pair, tokenizers.single
local load, folder_with, free_all = tokenizers.load, tokenizers.folder_with, tokenizers.free_all
local pair_files, single_text, strings = tokenizers.pair_files, tokenizers.single_text, tokenizers.strings

after_each(tokenizers.clean)

describe('the tokenizer', function()
  for name, folder in pairs { pair = PAIR, single = SINGLE } do
    it('gives the ids of Hugging Face: ' .. name, function()
      local loaded = load(folder)
      assert.is_true(#strings > 290)
      for _, each in ipairs(strings) do
        assert.same(each[name], loaded:encode(each.text), ('%q'):format(each.text))
        assert.equal(each.text, loaded:decode(each[name]))
      end
    end)
  end

  it('knows its size and the separators', function()
    local loaded = load(PAIR)
    assert.equal('bpe', loaded.tokenizer)
    assert.equal(601, loaded.size)
    assert.equal(600, loaded.eos)
    assert.equal('<|endoftext|>', loaded:decode { loaded.eos })
    assert.equal('####', loaded:decode { loaded.separator })
  end)

  it('reads special tokens as text if told so', function()
    local loaded = load(PAIR)
    assert.same({ loaded.eos }, loaded:encode '<|endoftext|>')
    local plain = loaded:encode('<|endoftext|>', true)
    assert.is_true(#plain > 1)
    assert.equal('<|endoftext|>', loaded:decode(plain))
  end)

  it('brings any bytes back', function()
    local loaded = load(SINGLE)
    local random = { 'a', ' ', "'", 's', '\n', '\195', '\169', '\128', '\255', '\237\160\128', '\0', '<|pad', '|>' }
    math.randomseed(7)
    for _ = 1, 3000 do
      local parts = {}
      for i = 1, math.random(0, 30) do
        parts[i] = math.random() < 0.5 and random[math.random(#random)] or string.char(math.random(0, 255))
      end
      local text = table.concat(parts)
      assert.equal(text, loaded:decode(loaded:encode(text)))
    end
  end)

  it('fills arrays from index 0, as far as there is room', function()
    local loaded = load(PAIR)
    local text = 'Anna has 12 apples'
    local ids, array, list = loaded:encode(text), ffi.new('int32_t[32]'), {}
    assert.equal(#ids, loaded:encode_into(text, array))
    assert.equal(#ids, loaded:encode_into(text, list, #ids))
    for i, id in ipairs(ids) do
      assert.equal(id, array[i - 1])
      assert.equal(id, list[i - 1])
    end
    assert.equal(text, loaded:decode(array, #ids))
    assert.equal('', loaded:decode(array, 0))
    assert.equal('', loaded:decode {})
    assert.equal(0, loaded:encode_into('', array))
    assert_mentions(message_of(loaded.encode_into, loaded, text, array, #ids - 1), 'has ' .. #ids .. ' tokens',
      'room for ' .. #ids - 1)
  end)

  it('refuses ids that it does not have', function()
    local loaded = load(PAIR)
    for _, id in ipairs { 601, -1, 1.5, 0 / 0, 1e300, 'x' } do
      assert_mentions(message_of(loaded.decode, loaded, { 1, id }), 'there is no id ' .. tostring(id), '0 to 600')
    end
    assert_mentions(message_of(loaded.decode, loaded, ffi.new('int32_t[1]', 601), 1), 'there is no id 601')
  end)

  it('gives its memory back', function()
    load(PAIR):free()
    local before = core.memory().live
    local loaded = load(PAIR)
    loaded:encode(('long '):rep(1000))
    assert.is_true(core.memory().live > before)
    loaded:free()
    loaded:free()
    assert.equal(before, core.memory().live)
    assert_mentions(message_of(loaded.encode, loaded, 'a'), 'freed')
    assert_mentions(message_of(loaded.decode, loaded, { 1 }), 'freed')
  end)
end)

describe('saving a tokenizer', function()
  it('writes the files it was made of', function()
    local folder = temporary.folder() .. '/new'
    load(PAIR):save(folder)
    assert.equal(pair_files['vocab.json'], temporary.contents(folder .. '/vocab.json'))
    assert.equal(pair_files['merges.txt'], temporary.contents(folder .. '/merges.txt'))
    assert.same(load(PAIR):encode 'Ben has 3 coins', load(folder):encode 'Ben has 3 coins')

    load(SINGLE):save(folder) -- leaves no file of the other one
    assert.equal(single_text, temporary.contents(folder .. '/tokenizer.json'))
    assert.is_nil(temporary.read(folder .. '/vocab.json'))
    assert.equal(606, load(folder).size)

    load(PAIR):save(folder)
    assert.is_nil(temporary.read(folder .. '/tokenizer.json'))
    assert.equal(601, load(folder).size)
  end)

  it('says when it cannot', function()
    local file = temporary.file 'x'
    assert_mentions(message_of(function() load(PAIR):save(file) end), file)
  end)
end)

-- ---- Files --------------------------------------------------------------------------------------

describe('vocab.json and merges.txt', function()
  --- The message for the files with one of them replaced.
  local function refused(name, text)
    local folder = folder_with { ['vocab.json'] = pair_files['vocab.json'], ['merges.txt'] = pair_files['merges.txt'],
      [name] = text }
    return message_of(load, folder)
  end

  local function refused_vocabulary(pattern, replacement)
    local text, count = pair_files['vocab.json']:gsub(pattern, replacement, 1)
    assert.equal(1, count, pattern)
    return refused('vocab.json', text)
  end

  local function refused_merges(pattern, replacement)
    local text, count = pair_files['merges.txt']:gsub(pattern, replacement, 1)
    assert.equal(1, count, pattern)
    return refused('merges.txt', text)
  end

  it('may lack the line with the version, also if a merge begins with #', function()
    local merges = pair_files['merges.txt']:gsub('^[^\n]*\n', '')
    assert.equal('# #\n', merges:sub(1, 4))
    local folder = folder_with { ['vocab.json'] = pair_files['vocab.json'], ['merges.txt'] = merges }
    assert.same(load(PAIR):encode '#### ## #', load(folder):encode '#### ## #')
  end)

  it('may lack the last line feed', function()
    local folder = folder_with { ['vocab.json'] = pair_files['vocab.json'],
      ['merges.txt'] = pair_files['merges.txt']:sub(1, -2) }
    assert.equal(601, load(folder).size)
  end)

  it('take special tokens from added_tokens.json', function()
    local folder = folder_with { ['vocab.json'] = pair_files['vocab.json'], ['merges.txt'] = pair_files['merges.txt'],
      ['added_tokens.json'] = '{"<|pad|>": 601, "日": 602, "<|endoftext|>": 600}' }
    local loaded = load(folder)
    assert.equal(603, loaded.size)
    local ids = loaded:encode 'a<|pad|>日<|endoftext|>'
    assert.same({ 601, 602, 600 }, { ids[2], ids[3], ids[4] })
    assert.equal('日', loaded:decode { 602 })
    local copy = temporary.folder()
    loaded:save(copy)
    assert.equal(603, load(copy).size)
  end)

  it('must both be there', function()
    local folder = temporary.folder()
    assert_mentions(message_of(load, folder), folder, 'no tokenizer.json')
    assert_mentions(message_of(load, folder .. '/none'), folder .. '/none', 'no tokenizer.json')
    temporary.write(folder .. '/vocab.json', pair_files['vocab.json'])
    assert_mentions(message_of(load, folder), 'merges.txt', 'No such file')
  end)

  it('are refused if the JSON is broken or of the wrong kind', function()
    for _, text in ipairs { '', '{', '{"a": 0', '{"a": 0,}', '{"a" 0}', '[', 'x', '{"a": 0} x', '{"a": 0}\0' } do
      assert_mentions(refused('vocab.json', text), 'vocab.json', 'not valid JSON')
    end
    for _, text in ipairs { '3', 'null', 'true', '"a"' } do
      assert_mentions(refused('vocab.json', text), 'vocab.json', 'expected an object')
    end
    assert_mentions(refused('vocab.json', '["a", "b"]'), 'vocab.json', 'is a list')
    assert_mentions(refused('vocab.json', '{}'), 'vocab.json', 'no token', 'byte 0x00')
    assert_mentions(refused('vocab.json', ('['):rep(100000)), 'not valid JSON')
    assert_mentions(refused('vocab.json', '\239\187\191' .. pair_files['vocab.json']), 'vocab.json', 'byte order mark')
  end)

  it('are refused if ids are no ids', function()
    for _, id in ipairs { '-1', '0.5', '"0"', 'null', 'true', '[]', '1e300', '99999999999' } do
      assert_mentions(refused_vocabulary('"!": 0', '"!": ' .. id), 'vocab.json', "token '!'", 'expected an integer')
    end
    assert_mentions(refused_vocabulary('"!": 0', '"!": 1'), 'vocab.json', "'!'", 'same id 1')
    assert_mentions(refused_vocabulary('"!": 0', '"!": 601'), 'vocab.json', 'none with id 0')
    assert_mentions(refused_vocabulary('"!": 0', '"!": 0, "!": 0'), 'vocab.json', "has '!' twice")
    assert_mentions(refused_vocabulary('"!": 0,', ''), 'vocab.json', 'none with id 0')
  end)

  it('are refused if tokens are no bytes, or a byte has none', function()
    assert_mentions(refused_vocabulary('"!": 0', '"漢": 0'), 'vocab.json', "token '漢' (id 0)", 'does not encode a byte')
    assert_mentions(refused_vocabulary('"!": 0', '" ": 0'), 'vocab.json', 'does not encode a byte')
    assert_mentions(refused_vocabulary('"!": 0', '"\255": 0'), 'vocab.json', 'does not encode a byte')
    assert_mentions(refused_vocabulary('"!": 0', '"": 0'), 'vocab.json', 'id 0 is empty')
    assert_mentions(refused_vocabulary('"!": 0', '"!!!!": 0'), 'vocab.json', "no token '!' for the byte 0x21")
    assert_mentions(refused_vocabulary('"!": 0', '"\\n\\u001b[31m": 0'), "token '??[31m'")
  end)

  it('are refused without the separators', function()
    assert_mentions(refused_vocabulary('<|endoftext|>', 'Ġ'), 'vocab.json')
    assert_mentions(refused_vocabulary(',%s*"<|endoftext|>": 600', ''), 'no token <|endoftext|>')
    local merges = pair_files['merges.txt']:gsub('## ##\n', ''):gsub('Ġ ####\n', '')
    local vocabulary = assert(json.decode(pair_files['vocab.json']))
    local removed = { [vocabulary['####']] = true, [vocabulary['Ġ####']] = true }
    local kept, below = {}, 0
    for id = 0, 600 do
      if removed[id] then below = below + 1 end
      for name, its in pairs(vocabulary) do if its == id and not removed[id] then kept[name] = id - below end end
    end
    local folder = folder_with { ['vocab.json'] = json.encode(kept), ['merges.txt'] = merges }
    assert_mentions(message_of(load, folder), folder, '#### is 2 tokens')
  end)

  it('are refused if a merge is broken, with its line', function()
    for _, line in ipairs { '', 'a', 'a b c', ' a', 'a  b', '\t' } do
      assert_mentions(refused_merges('\n# #\n', '\n' .. line .. '\n# #\n'), 'merges.txt:2', 'expected two tokens')
    end
    assert_mentions(refused_merges('# #\n', '#version: 0.2\n'), 'merges.txt:2', "'#version:0.2' is not in the")
    assert_mentions(refused_merges('# #\n', '漢 #\n'), 'merges.txt:2', 'not in the vocabulary')
    assert_mentions(refused_merges('# #\n', '# 漢\n'), 'merges.txt:2', 'not in the vocabulary')
    assert_mentions(refused_merges('# #\n', '! #\n'), 'merges.txt:2', "'!#' is not in the vocabulary")
    assert_mentions(refused_merges('# #\n', '# #\n# #\n'), 'merges.txt:3', 'twice')
    assert_mentions(refused_merges('# #\n', '# #\r\n'), 'merges.txt:2', 'CR LF')
    assert_mentions(refused_merges('^', '\239\187\191'), 'merges.txt', 'byte order mark')
    assert_mentions(refused_merges('# #\n', ('x'):rep(1e6) .. '\27\n'), 'merges.txt:2')
  end)

  it('are refused if merges are missing', function()
    assert_mentions(refused('merges.txt', ''), 'merges.txt', 'has no merges')
    assert_mentions(refused('merges.txt', '#version: 0.2\n'), 'merges.txt', 'has no merges')
    assert_mentions(refused_merges('# #\n', ''), 'merges.txt', "no merge makes the token '##'")
  end)

  it('are refused wherever they are cut off', function()
    for name, text in pairs(pair_files) do
      for length = 0, #text - 3, 41 do assert_mentions(refused(name, text:sub(1, length)), name) end
    end
  end)
end)

describe('tokenizer.json', function()
  local function refused(change)
    local file = assert(json.decode(single_text))
    change(file)
    return message_of(load, folder_with { ['tokenizer.json'] = json.encode(file) })
  end

  local function refused_text(pattern, replacement)
    local text, count = single_text:gsub(pattern, replacement, 1)
    assert.equal(1, count, pattern)
    return message_of(load, folder_with { ['tokenizer.json'] = text })
  end

  it('may have merges as strings, and a post-processor that does nothing', function()
    local file = assert(json.decode(single_text))
    for i, merge in ipairs(file.model.merges) do file.model.merges[i] = merge[1] .. ' ' .. merge[2] end
    file.post_processor = { type = 'TemplateProcessing', special_tokens = {} }
    local loaded = load(folder_with { ['tokenizer.json'] = json.encode(file) })
    for _, each in ipairs(strings) do assert.same(each.single, loaded:encode(each.text)) end
  end)

  it('counts before the other files', function()
    local folder = folder_with { ['tokenizer.json'] = single_text, ['vocab.json'] = 'broken' }
    assert.equal(606, load(folder).size)
  end)

  it('is refused if it would give other ids', function()
    local cases = {
      { 'normalizer', function(file) file.normalizer = { type = 'NFC' } end },
      { 'pre_tokenizer', function(file) file.pre_tokenizer = { type = 'Whitespace' } end },
      { 'pre_tokenizer', function(file) file.pre_tokenizer = nil end },
      { 'add_prefix_space', function(file) file.pre_tokenizer.add_prefix_space = true end },
      { 'use_regex', function(file) file.pre_tokenizer.use_regex = false end },
      { 'post_processor', function(file) file.post_processor = { type = 'RobertaProcessing' } end },
      { 'post_processor', function(file)
        file.post_processor = { type = 'TemplateProcessing', special_tokens = { ['<s>'] = { id = '<s>' } } }
      end },
      { 'decoder', function(file) file.decoder = { type = 'WordPiece' } end },
      { "model.type is 'Unigram'", function(file) file.model.type = 'Unigram' end },
      { 'model.dropout', function(file) file.model.dropout = 0.1 end },
      { 'model.unk_token', function(file) file.model.unk_token = '<unk>' end },
      { 'model.byte_fallback', function(file) file.model.byte_fallback = true end },
      { 'model.ignore_merges', function(file) file.model.ignore_merges = true end },
      { 'model.continuing_subword_prefix', function(file) file.model.continuing_subword_prefix = '##' end },
      { "'<|pad|>': lstrip", function(file) file.added_tokens[3].lstrip = true end },
    }
    for _, case in ipairs(cases) do assert_mentions(refused(case[2]), 'tokenizer.json', case[1]) end
  end)

  it('is refused if something in it is of the wrong kind', function()
    local cases = {
      { 'model is missing', function(file) file.model = nil end },
      { 'model is a number', function(file) file.model = 3 end },
      { 'model.vocab is missing', function(file) file.model.vocab = nil end },
      { 'model.merges is missing', function(file) file.model.merges = nil end },
      { 'model.merges is an object', function(file) file.model.merges = { a = 'b' } end },
      { 'merge 2: expected two tokens', function(file) file.model.merges[2] = 'a' end },
      { 'merge 2: expected two tokens', function(file) file.model.merges[2] = { 'a' } end },
      { 'merge 2: expected two tokens', function(file) file.model.merges[2] = { 'a', 3 } end },
      { 'merge 2: expected two tokens', function(file) file.model.merges[2] = 7 end },
      { 'added_tokens is an object', function(file) file.added_tokens = { a = 1 } end },
      { 'added_tokens is a string', function(file) file.added_tokens = 'x' end },
      { 'an added token is a number', function(file) file.added_tokens[1] = 1 end },
      { 'has no content', function(file) file.added_tokens[1].content = 4 end },
      { "'<|endoftext|>' has the id null", function(file) file.added_tokens[1].id = nil end },
      { 'have the same id 5', function(file) file.added_tokens[1].id = 5 end },
      { 'none with id 605', function(file) file.added_tokens[6].id = 607 end },
      { 'is empty', function(file) file.added_tokens[1].content = '' end },
    }
    for _, case in ipairs(cases) do assert_mentions(refused(case[2]), 'tokenizer.json', case[1]) end
    assert_mentions(refused_text('^.*$', '[]'), 'tokenizer.json', 'model is missing')
    assert_mentions(refused_text('^.*$', 'null'), 'tokenizer.json', 'expected an object')
    assert_mentions(refused_text('}%s*$', ''), 'tokenizer.json', 'not valid JSON')
  end)
end)

describe('broken files', function()
  -- Whatever happens to the bytes of a file, it loads or is refused in one line.
  local function survives(folder)
    local ok, problem = pcall(load, folder)
    if ok then
      assert.equal('a bß', problem:decode(problem:encode 'a bß'))
    else
      assert.is_true(errors.is_user_error(problem), tostring(problem))
      assert.is_nil(problem.message:find('\n', 1, true), problem.message)
    end
    return ok
  end

  local function damage(text)
    local at = math.random(#text)
    local kind = math.random(4)
    if kind == 1 then return text:sub(1, at) end
    if kind == 2 then return text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + 1) end
    if kind == 3 then return text:sub(1, at) .. text:sub(at + math.random(20)) end
    return text:sub(1, at) .. text:sub(math.random(#text)) -- a part twice, or one left out
  end

  it('never crash', function()
    math.randomseed(11)
    local refused = 0
    for i = 1, 400 do
      local files
      if i % 4 == 0 then
        files = { ['tokenizer.json'] = damage(single_text) }
      else
        local name = i % 2 == 0 and 'vocab.json' or 'merges.txt'
        files = { ['vocab.json'] = pair_files['vocab.json'], ['merges.txt'] = pair_files['merges.txt'] }
        files[name] = damage(files[name])
      end
      if not survives(folder_with(files)) then refused = refused + 1 end
      free_all()
    end
    assert.is_true(refused > 300, refused)
  end)
end)
