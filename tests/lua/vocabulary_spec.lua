--- Vocabulary: how text is cut into symbols, and back.
local vocabulary = require 'icot.text.vocabulary'
local expect = require 'tests.lua.support.expect'

local message_of, assert_mentions = expect.user_error, expect.mentions

describe('vocabulary', function()
  local texts = {
    '', ' ', '  ', 'a', ' a', 'a ', 'a b', 'a  b', '  a   b ', 'bäh ☃ x', '\255\254 broken \226\130', '日本',
  }

  for _, tokenizer in ipairs { 'word', 'character' } do
    it('brings every text back, split by ' .. tokenizer, function()
      local collector = vocabulary.collector(tokenizer)
      for _, text in ipairs(texts) do collector:add(text) end
      local symbols = collector:finish()
      for _, text in ipairs(texts) do assert.equal(text, symbols:decode(symbols:encode(text))) end
    end)
  end

  it('cuts words at single spaces and characters at UTF-8 boundaries', function()
    local words, characters = vocabulary.collector('word'), vocabulary.collector('character')
    assert.equal(4, words:add('12 ab  ☃')) -- an empty symbol between the two spaces
    assert.equal(8, characters:add('12 ab  ☃'))
    assert.same({ '<eos>', '####', '', '12', 'ab', '☃' }, words:finish().symbols)
    assert.same({ '<eos>', '####', ' ', '1', '2', 'a', 'b', '☃' }, characters:finish().symbols)
  end)

  it('does not depend on the order of the texts', function()
    local one, other = vocabulary.collector('word'), vocabulary.collector('word')
    for _, text in ipairs { 'x y', 'b a', 'z' } do one:add(text) end
    for _, text in ipairs { 'z', 'a b', 'y x x' } do other:add(text) end
    assert.same(one:finish().symbols, other:finish().symbols)
  end)

  it('numbers the separators 0 and 1', function()
    local symbols = vocabulary.new('word', { '7' })
    assert.same({ 3, 0, 1 }, { symbols.size, symbols.eos, symbols.separator })
    assert.same({ 2, 0, 1, 2 }, symbols:encode('7 <eos> #### 7'))
    assert.equal('7 <eos> #### 7', symbols:decode { 2, 0, 1, 2 })
  end)

  it('survives being saved as JSON', function()
    local json = require 'cjson'
    local symbols = vocabulary.new('character', { '"', '\\', ' ', 'é', '1' })
    local loaded = vocabulary.from_table(json.decode(json.encode(symbols:to_table())))
    assert.same(symbols, loaded)
    assert.same(symbols:encode('é1 "\\'), loaded:encode('é1 "\\'))
  end)

  it('gets a pause after all other symbols, as a copy', function()
    local symbols = vocabulary.new('word', { 'a', 'b' })
    local with_pause = symbols:with_pause()
    assert.same({ 5, 4 }, { with_pause.size, with_pause.pause })
    assert.same({ '<eos>', '####', 'a', 'b', '<pause>' }, with_pause.symbols)
    assert.equal('a <pause>', with_pause:decode { 2, 4 })
    assert.same({ 4, nil }, { symbols.size, symbols.pause })
    assert_mentions(message_of(with_pause.with_pause, with_pause), "the symbol '<pause>'", 'uses for removed CoT')
  end)

  it('refuses what it does not know', function()
    local symbols = vocabulary.new('word', { 'a' })
    assert_mentions(message_of(symbols.encode, symbols, 'a b'), "'b' is not among its 3 symbols")
    assert_mentions(message_of(symbols.encode, symbols, 'a \27[2J\n\194\155'), "'?[2J??'")
    assert_mentions(message_of(symbols.decode, symbols, { 3 }), 'no id 3')
    assert_mentions(message_of(vocabulary.new, 'word', { 'a', 'a' }), "'a'", 'only once')
    assert_mentions(message_of(vocabulary.new, 'sentence', {}), "'sentence'", 'word', 'character')
    for _, saved in ipairs { 7, {}, { symbols = { 'a', 'b' } } } do
      assert_mentions(message_of(vocabulary.from_table, saved), '<eos>', '####')
    end
    message_of(vocabulary.from_table, { tokenizer = 'word', symbols = { '<eos>', '####', 7 } })
    message_of(vocabulary.from_table, { symbols = { '<eos>', '####', '7' } })
  end)
end)
