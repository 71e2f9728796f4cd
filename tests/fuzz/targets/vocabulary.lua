--- vocabulary.json, and a text: what is read is what would be written, and decode(encode(text)) is the text.
local json = require 'icot.base.json'
local model_file = require 'icot.model.model_file'
local parts = require 'tests.fuzz.parts'
local vocabulary = require 'icot.text.vocabulary'

-- Every text can be encoded with the vocabulary of its own symbols.
local function check_collected(text)
  for _, tokenizer in ipairs { 'word', 'character' } do
    local collector = vocabulary.collector(tokenizer)
    local count = collector:add(text)
    local made = collector:finish()
    local ids = made:encode(text)
    assert(#ids == count and made:decode(ids) == text, 'decoded it is another text')
  end
end

return function(folder)
  return function(bytes)
    local found = parts.split(bytes)
    local text = found.text or bytes
    check_collected(text)
    parts.put(folder, found, { 'vocabulary.json' })
    local read = model_file.vocabulary(folder)
    if not read then return end
    local saved = json.encode(read:to_table())
    assert(json.encode(vocabulary.from_table(json.decode(saved)):to_table()) == saved, 'saved it is another')
    assert(read:decode(read:encode(text)) == text, 'decoded it is another text')
  end
end
