--- The files of a byte-level BPE tokenizer. Where they say BYTES, the names of the 256 bytes stand with the ids 0 to
--- 255, so that inputs are short: {"model": {"vocab": {BYTES, "##": 256, …
local byte_alphabet = require 'icot.text.byte_alphabet'
local json = require 'icot.base.json'
local parts = require 'tests.fuzz.parts'
local tokenizer = require 'icot.text.tokenizer'
local tokenizer_files = require 'icot.text.tokenizer_files'

local TEXT = "#### ## 1 don't <|endoftext|>\n\255é"

local function byte_names()
  local names = {}
  for byte = 0, 255 do names[byte + 1] = ('%s:%d'):format(json.encode(byte_alphabet.letter(byte)), byte) end
  return (table.concat(names, ','):gsub('%%', '%%%%')) -- for gsub
end

local function check(words, text)
  assert(words:decode(words:encode(text)) == text, 'decoded it is another text')
  assert(words:decode(words:encode(text, true)) == text, 'decoded it is another text')
end

-- Files that could be read can be read with one more token, too.
local function check_pause(words)
  local with_pause = words:with_pause()
  local is_known = words.size == with_pause.size
  assert(is_known or with_pause.pause == words.size, 'the pause has another id')
  with_pause:free()
end

return function(folder)
  local bytes_named = byte_names()
  return function(bytes)
    local found = parts.split(bytes)
    for name, contents in pairs(found) do
      if name ~= 'text' then found[name] = contents:gsub('BYTES', bytes_named, 1) end
    end
    parts.put(folder, found, tokenizer_files.NAMES)
    local words = tokenizer.load(folder)
    local ok, problem = pcall(check, words, found.text or TEXT)
    if ok then ok, problem = pcall(check_pause, words) end
    words:free()
    if not ok then error(problem, 0) end
  end
end
