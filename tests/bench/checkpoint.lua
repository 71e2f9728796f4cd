--- How fast a checkpoint of GPT-2 Small with its moments (1.5 GB) is written and read, and how fast the disk is:
---
---     luajit tests/bench/checkpoint.lua [FOLDER]       in FOLDER (default: .), alternating with dd; medians of five
local checkpoint = require 'icot.saved.checkpoint'
local files = require 'icot.base.files'
local gpt2 = require 'icot.gpt2'
local optim = require 'icot.training.optim'
local pretrained = require 'icot.gpt2.pretrained'
local timing = require 'tests.bench.timing'
local vocabulary = require 'icot.text.vocabulary'

local ROUNDS = 5
local folder = (arg[1] or '.') .. '/bench-checkpoint'

local function shell(command)
  assert(os.execute(command) == 0, command)
end

-- What is read next comes from the disk; only root may ask for that, for others it comes from memory in both cases.
local function forget()
  os.execute('sync; { echo 1 > /proc/sys/vm/drop_caches; } 2> /dev/null')
end

local config = { vocab_size = 50257, context = 1024, dropout = 0 }
for name, value in pairs(gpt2.presets.small) do config[name] = value end
local model = gpt2.new(config, 1)
local optimizer = optim.AdamW(model:parameters())
local parts = {
  description = {}, source = 'return {}', model = model, words = vocabulary.new('word', { 'a', 'b' }),
  optimizer = optimizer,
}
local bytes = 3 * 4 * model:count_parameters()
files.make_folder(folder)

local path, plain = checkpoint.path(folder, 1), folder .. '/plain'
-- As a checkpoint does: the new file is written while the one before is still there.
local write = ('dd if=/dev/zero of=%s.new bs=8M count=%d conv=fsync status=none && mv %s.new %s'):format(
  plain, math.ceil(bytes / 2 ^ 23), plain, plain)
local read = ('dd if=%s of=/dev/null bs=8M status=none'):format(plain)
local times = { dd_write = {}, save = {}, dd_read = {}, load = {} }
local function note(name, body) table.insert(times[name], timing.seconds_of(body)) end

for _ = 1, ROUNDS do
  note('dd_write', function() shell(write) end)
  note('save', function() checkpoint.write(path, parts) end)
end
for _ = 1, ROUNDS do
  forget()
  note('dd_read', function() shell(read) end)
  forget()
  note('load', function()
    local loaded = pretrained.load(path)
    loaded:free()
    checkpoint.read_moments(optimizer, { moments = path .. '/moments.safetensors' }, model)
  end)
end
files.remove_tree(folder)

print(('%.2f GB'):format(bytes / 1e9))
for _, pair in ipairs { { 'dd_write', 'save' }, { 'dd_read', 'load' } } do
  local reference, ours = timing.median(times[pair[1]]), timing.median(times[pair[2]])
  print(('%-8s %.2f s, %-4s %.2f s (%.0f MB/s): %.2f times'):format(
    pair[1], reference, pair[2], ours, bytes / 1e6 / ours, ours / reference))
end
