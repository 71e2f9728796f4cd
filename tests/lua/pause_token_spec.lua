--- The token <pause> that a tokenizer is given beside its own, and the files that tell of it.
local byte_alphabet = require 'icot.text.byte_alphabet'
local ffi = require 'ffi'
local json = require 'icot.base.json'
local temporary = require 'tests.lua.support.temporary'
local tokenizers = require 'tests.lua.support.tokenizers'

local PAIR, SINGLE = tokenizers.pair, tokenizers.single
local load, folder_with = tokenizers.load, tokenizers.folder_with
local pair_files, single_text, strings = tokenizers.pair_files, tokenizers.single_text, tokenizers.strings

describe('a pause token', function()
  after_each(tokenizers.clean)

  local function with_pause(folder)
    return tokenizers.keep(load(folder):with_pause())
  end

  -- Saves it and loads it again, as the tokenizer of a pretrained model that was trained with pauses.
  local function saved(made)
    local folder = temporary.folder()
    made:save(folder)
    return load(folder), folder
  end

  it('is a special token after all others, in the files too', function()
    for folder, size in pairs { [PAIR] = 601, [SINGLE] = 606 } do
      local made = with_pause(folder)
      assert.same({ size + 1, size }, { made.size, made.pause })
      assert.is_nil(load(folder).pause)
      for _, words in ipairs { made, (saved(made)) } do
        assert.same({ size }, words:encode '<pause>')
        assert.equal('a<pause>', words:decode { words:encode('a')[1], size })
        for i = 1, #strings, 10 do
          assert.same(load(folder):encode(strings[i].text), words:encode(strings[i].text))
        end
      end
    end
  end)

  it('is no token of an example, even where one says <pause>', function()
    local made, ids = with_pause(SINGLE), ffi.new('int32_t[32]')
    local count = made:encode_part_into('a <pause> b', ids)
    assert.is_true(count > 4)
    for i = 0, count - 1 do assert.not_equal(made.pause, ids[i]) end
  end)

  it('is the one that the tokenizer has already', function()
    local again, folder = saved(with_pause(SINGLE))
    local made = tokenizers.keep(again:with_pause())
    assert.same({ 607, 606 }, { made.size, made.pause })
    assert.equal(temporary.read(folder .. '/tokenizer.json'), made.files['tokenizer.json'])
    assert.is_nil(again.pause)
  end)

  it('changes nothing else in the files', function()
    local text = with_pause(SINGLE).files['tokenizer.json']
    local first, last = text:find(',{"id":606,"content":"<pause>"[^}]*}')
    assert.equal(single_text:gsub('%s', ''), (text:sub(1, first - 1) .. text:sub(last + 1)):gsub('%s', ''))
    local pair = with_pause(PAIR).files
    assert.equal(pair_files['vocab.json'], pair['vocab.json'])
    assert.equal(pair_files['merges.txt'], pair['merges.txt'])
    assert.same({ ['<pause>'] = 601 }, json.decode(pair['added_tokens.json']))
  end)

  it('joins other added tokens, however they are written', function()
    local added = folder_with { ['vocab.json'] = pair_files['vocab.json'], ['merges.txt'] = pair_files['merges.txt'],
      ['added_tokens.json'] = '{"<|pad|>": 601}' }
    assert.same({ ['<|pad|>'] = 601, ['<pause>'] = 602 }, json.decode(with_pause(added).files['added_tokens.json']))
    local eos = '{"id": 600, "content": "<|endoftext|>"}'
    local odd = [[{"id": 601, "content": "]} \\\" [{"}]]
    for item, id in pairs {
      ['"]\\\\\\"": [{"added_tokens": []}, -1e5, true, null], "added_tokens" : [ %s , %s\n ]'] = 602,
      ['"added_tokens":[%s,%s]'] = 602, ['"z": "\\"",\t"added_tokens":[%s]'] = 601,
    } do
      local list = item:format(eos, odd)
      local text = single_text:gsub('"added_tokens": %b[]', function() return list end)
      assert.equal(id, with_pause(folder_with { ['tokenizer.json'] = text }).pause)
    end
  end)

  it('is the only added token where merges make all others', function()
    local vocabulary, merges, size = {}, {}, 256
    for byte = 0, 255 do vocabulary[byte_alphabet.letter(byte)] = byte end
    local function merge(left, right)
      vocabulary[left .. right], size = size, size + 1
      merges[#merges + 1] = left .. ' ' .. right
    end
    merge('#', '#')
    merge('##', '##')
    local eos = '<|endoftext|>'
    for length = 1, #eos - 1 do merge(eos:sub(1, length), eos:sub(length + 1, length + 1)) end
    local rest = ('"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "model": %s}'):format(
      json.encode { vocab = vocabulary, merges = merges })
    for _, start in ipairs { ' {', '{ "added_tokens": [ ], ', '{"added_tokens":null,' } do
      assert.equal(size, with_pause(folder_with { ['tokenizer.json'] = start .. rest }).pause)
    end
  end)
end)
