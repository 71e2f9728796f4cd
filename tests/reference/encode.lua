-- luajit tests/reference/encode.lua FOLDER < strings > ids: a tokenizer as a filter, for check_tokenizer.py.
--
-- In: for each string a uint32 with its length, then its bytes. Out: for each a uint32 that is 1 if decoding gave the
-- same bytes again, the number of ids as a uint32, then the ids as int32. All little-endian.
local ffi = require 'ffi'
local tokenizer = require 'icot.text.tokenizer'

local loaded = tokenizer.load(assert(arg[1], 'usage: encode.lua FOLDER'))

local function write_words(values, count)
  io.write(ffi.string(values, 4 * count))
end

while true do
  local header = io.read(4)
  if not header then break end
  local length = ffi.cast('const uint32_t *', header)[0]
  local text = length > 0 and io.read(length) or ''
  local ids = ffi.new('int32_t[?]', #text + 1)
  local count = loaded:encode_into(text, ids, #text + 1)
  write_words(ffi.new('uint32_t[2]', loaded:decode(ids, count) == text and 1 or 0, count), 2)
  write_words(ids, count)
end
