--- Tokenizers of the fixtures, and folders with files that a test has made up.
local json = require 'icot.base.json'
local temporary = require 'tests.lua.support.temporary'
local tokenizer = require 'icot.text.tokenizer'

local tokenizers = {}

local read = temporary.contents
local FIXTURES = 'tests/fixtures/tokenizer'

--- Folders of the fixtures: vocab.json with merges.txt, and a tokenizer.json.
tokenizers.pair, tokenizers.single = FIXTURES .. '/pair', FIXTURES .. '/single'

--- The contents of their files.
tokenizers.pair_files = {
  ['vocab.json'] = read(tokenizers.pair .. '/vocab.json'), ['merges.txt'] = read(tokenizers.pair .. '/merges.txt'),
}
tokenizers.single_text = read(tokenizers.single .. '/tokenizer.json')

--- Texts with the ids that Hugging Face gives them.
tokenizers.strings = assert(json.decode(read(FIXTURES .. '/strings.json')))

local opened = {}
local working_folder -- of the test that runs

--- A tokenizer that is freed after the test.
---@param made icot.Tokenizer
---@return icot.Tokenizer
function tokenizers.keep(made)
  opened[#opened + 1] = made
  return made
end

--- Loads one, which is freed after the test.
---@param folder string
---@return icot.Tokenizer
function tokenizers.load(folder)
  return tokenizers.keep(tokenizer.load(folder))
end

--- A folder with the given files and no others, the same one throughout a test.
---@param files table<string, string> contents by name
---@return string folder
function tokenizers.folder_with(files)
  working_folder = working_folder or temporary.folder()
  for _, name in ipairs { 'tokenizer.json', 'vocab.json', 'merges.txt', 'added_tokens.json' } do
    local path = working_folder .. '/' .. name
    os.remove(path)
    if files[name] then
      local file = assert(io.open(path, 'wb'))
      file:write(files[name])
      file:close()
    end
  end
  return working_folder
end

--- Frees all that were loaded.
function tokenizers.free_all()
  for _, loaded in ipairs(opened) do loaded:free() end
  opened = {}
end

--- To be called after each test.
function tokenizers.clean()
  tokenizers.free_all()
  temporary.clean()
  working_folder = nil
end

return tokenizers
