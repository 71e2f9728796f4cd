--- A small byte-level BPE folder as GPT-2's is: the 256 bytes, `####`, each ASCII character with a space before it, and
--- `<|endoftext|>`.
local byte_alphabet = require 'icot.text.byte_alphabet'
local json = require 'icot.base.json'
local temporary = require 'tests.lua.support.temporary'

local tiny_bpe = {}

--- Writes vocab.json and merges.txt.
---@param folder? string a folder for this test by default
---@return string folder
function tiny_bpe.write(folder)
  folder = folder or temporary.folder()
  local vocabulary, size, merges = {}, 0, { '#version: 0.2' }
  local function add(token)
    vocabulary[token], size = size, size + 1
  end
  local function merge(left, right)
    add(left .. right)
    merges[#merges + 1] = left .. ' ' .. right
  end
  for byte = 0, 255 do add(byte_alphabet.letter(byte)) end
  merge('#', '#')
  merge('##', '##')
  for byte = 33, 126 do merge(byte_alphabet.letter(32), string.char(byte)) end
  add '<|endoftext|>'
  temporary.write(folder .. '/vocab.json', json.encode(vocabulary))
  temporary.write(folder .. '/merges.txt', table.concat(merges, '\n') .. '\n')
  return folder
end

return tiny_bpe
