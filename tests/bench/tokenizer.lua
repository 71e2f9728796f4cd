--- luajit tests/bench/tokenizer.lua FOLDER [TEXT_FILE ...] - how quickly 10 MB of text become ids.
---
--- The text: sentences of words of a seeded list, the common ones often (Zipf's law), with numbers between them; then
--- the files given, repeated to the same size. For the library: ICOT_LIBRARY and ICOT_HEADER, as in tests/run.
local ffi = require 'ffi'
local temporary = require 'tests.lua.support.temporary'
local timing = require 'tests.bench.timing'
local tokenizer = require 'icot.text.tokenizer'

local BYTES, WORDS, REPEATS = 10 * 1000 * 1000, 50000, 3

-- A word of two to five syllables.
local function make_word()
  local syllables = {}
  for i = 1, math.random(1, 4) do
    local consonants, vowels = 'bcdfghklmnprstvw', 'aeiou'
    local c, v = math.random(#consonants), math.random(#vowels)
    syllables[i] = consonants:sub(c, c) .. vowels:sub(v, v) .. (math.random() < 0.5 and 'n' or '')
  end
  return table.concat(syllables)
end

local function english()
  math.randomseed(1)
  local words, parts, bytes = {}, {}, 0
  for i = 1, WORDS do words[i] = make_word() end
  while bytes < BYTES do
    local rank = math.floor(WORDS ^ math.random()) -- P(rank) ∝ 1 / rank
    local word = math.random() < 0.03 and tostring(math.random(0, 99999)) or words[rank]
    local part = word .. (math.random() < 0.08 and '. ' or ' ')
    parts[#parts + 1], bytes = part, bytes + #part
  end
  return table.concat(parts):sub(1, BYTES)
end

local function as_long(text)
  return text:rep(math.ceil(BYTES / #text)):sub(1, BYTES)
end

-- Each time with a new tokenizer, which hasn't seen any word yet.
local function seconds_for(folder, text, ids)
  local best, count = math.huge, 0
  for _ = 1, REPEATS do
    local loaded = tokenizer.load(folder)
    local seconds = timing.seconds_of(function() count = loaded:encode_into(text, ids, #text) end)
    best = math.min(best, seconds)
    loaded:free()
  end
  return best, count
end

local folder = assert(arg[1], 'usage: luajit tests/bench/tokenizer.lua FOLDER [TEXT_FILE ...]')
local texts = { { 'made-up English', english() } }
for i = 2, #arg do texts[i] = { arg[i], as_long(temporary.contents(arg[i])) } end
local ids = ffi.new('int32_t[?]', BYTES)
for _, text in ipairs(texts) do
  local seconds, count = seconds_for(folder, text[2], ids)
  print(('%-40s %.1f MB, %d tokens: %.2f s (best of %d)'):format(text[1], #text[2] / 1e6, count, seconds, REPEATS))
end
