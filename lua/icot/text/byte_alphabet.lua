--- The byte alphabet of GPT-2's files: each of the 256 bytes has a printable character, so that tokens, which are
--- bytes, can be written as JSON and text. Printable Latin-1 stands for itself; the other bytes have the characters
--- from U+0100 on, in their order: a space is `Ġ`, a line feed `Ċ`.
local byte_alphabet = {}

local char = string.char

-- UTF-8 of a code point below U+0800.
local function utf8_of(code_point)
  if code_point < 0x80 then return char(code_point) end
  return char(0xC0 + math.floor(code_point / 64), 0x80 + code_point % 64)
end

local function is_printable(byte)
  return byte >= 0x21 and byte <= 0x7E or byte >= 0xA1 and byte <= 0xAC or byte >= 0xAE
end

local byte_of, letter_of = {}, {}
local unprintable = 0
for byte = 0, 255 do
  local code_point = byte
  if not is_printable(byte) then
    code_point = 0x100 + unprintable
    unprintable = unprintable + 1
  end
  letter_of[byte] = utf8_of(code_point)
  byte_of[letter_of[byte]] = char(byte)
end

--- How a byte is written.
---@param byte integer 0 … 255
---@return string letter UTF-8
function byte_alphabet.letter(byte)
  return letter_of[byte]
end

--- The bytes that a name stands for.
---@param name string UTF-8, letters of the alphabet
---@return string? bytes nil: there is something else in it
---@return string? letter which
function byte_alphabet.decode(name)
  local stranger
  local bytes = name:gsub('.[\128-\191]*', function(letter)
    local byte = byte_of[letter]
    stranger = stranger or not byte and letter
    return byte
  end)
  if stranger then return nil, stranger end
  return bytes
end

return byte_alphabet
