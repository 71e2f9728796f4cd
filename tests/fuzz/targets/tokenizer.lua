--- A byte-level BPE tokenizer, and texts that are encoded with it: decode(encode(text)) is the text.
local tokenizer = require 'icot.text.tokenizer'

local LONGEST = 2 ^ 16 -- bytes; tests/fuzz/run makes no longer inputs
local FIXTURES = 'tests/fixtures/tokenizer/'

local function check(words, text)
  local with_special, plain = words:encode(text), words:encode(text, true)
  assert(words:decode(with_special) == text, 'with special tokens: decoded it is another text')
  assert(words:decode(plain) == text, 'decoded it is another text')
end

return function()
  local all = { tokenizer.load(FIXTURES .. 'single'), tokenizer.load(FIXTURES .. 'pair') }
  for _, words in ipairs(all) do check(words, ('x'):rep(LONGEST)) end -- their buffers don't grow after this
  return function(bytes)
    check(all[#bytes % 2 + 1], bytes)
  end
end
