--- The weights of a Hugging Face folder: one model.safetensors, or shards that model.safetensors.index.json lists.
---
--- Names are told without `transformer.`, which GPT2LMHeadModel puts before them and GPT2Model doesn't.
local cleanup = require 'icot.base.cleanup'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local json = require 'icot.base.json'
local names = require 'icot.base.names'
local safetensors = require 'icot.tensor.safetensors'
local values = require 'icot.base.values'

local pretrained_weights = {}

local WHOLE, INDEX, PICKLED = 'model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin'
local LONGEST_INDEX = 16 * 2 ^ 20 -- bytes

---@class icot.CheckpointWeights
---@field path string the file, or the index of the shards, for messages
---@field files icot.SafetensorsFile[]
---@field places table<string, { file: icot.SafetensorsFile, name: string }>
local Weights = {}
Weights.__index = Weights

local function add(self, file, name)
  local short = name:gsub('^transformer%.', '')
  if self.places[short] then
    errors.raise('%s: tensor %s appears twice, with and without "transformer."', self.path, values.show(short))
  end
  self.places[short] = { file = file, name = name }
end

local function open_file(self, path)
  local file = safetensors.open(path)
  table.insert(self.files, file)
  return file
end

local function open_whole(self)
  local file = open_file(self, self.path)
  for _, name in ipairs(file:names()) do add(self, file, name) end
end

-- A shard lies beside the index; a name that leads elsewhere is none.
local function is_shard_name(value)
  return type(value) == 'string' and value:find('^[%w_][%w_.-]*%.safetensors$') ~= nil
end

local function read_weight_map(path)
  local index = json.read_file(path, LONGEST_INDEX)
  local map = type(index) == 'table' and index.weight_map
  if type(map) ~= 'table' then errors.raise('%s: weight_map is missing, expected a table', path) end
  for name, shard in pairs(map) do
    if type(name) ~= 'string' or not is_shard_name(shard) then
      errors.raise('%s: weight_map: tensor %s lies in %s, expected the name of a .safetensors file beside the index',
                   path, values.show(name), values.show(shard))
    end
  end
  return map
end

local function open_shards(self, folder)
  local map, opened = read_weight_map(self.path), {}
  for _, name in ipairs(names.sorted(map)) do
    local shard = map[name]
    opened[shard] = opened[shard] or open_file(self, folder .. '/' .. shard)
    opened[shard]:info(name) -- raises an error if it isn't there
    add(self, opened[shard], name)
  end
end

local function raise_missing(folder)
  if files.kind(folder .. '/' .. PICKLED) then
    errors.raise("%s: has only %s, which icot doesn't read; convert it in Python: GPT2LMHeadModel.from_pretrained"
                 .. "('%s').save_pretrained('NEW_FOLDER', safe_serialization=True)", folder, PICKLED, folder)
  end
  errors.raise('%s: has no %s and no %s', folder, WHOLE, INDEX)
end

--- Opens the weights of a folder.
---@param folder string
---@return icot.CheckpointWeights to be closed
---raises an error when there are none, or a file or the index is broken; nothing stays open then
function pretrained_weights.open(folder)
  local self = setmetatable({ files = {}, places = {} }, Weights)
  local open
  if files.kind(folder .. '/' .. WHOLE) then
    self.path, open = folder .. '/' .. WHOLE, open_whole
  elseif files.kind(folder .. '/' .. INDEX) then
    self.path, open = folder .. '/' .. INDEX, open_shards
  else
    raise_missing(folder)
  end
  cleanup.on_error(function() self:close() end, open, self, folder)
  return self
end

--- Closes the files. Tensors that were read from them stay.
function Weights:close()
  for _, file in ipairs(self.files) do file:close() end
end

--- The names of all tensors, sorted.
---@return string[]
function Weights:names()
  return names.sorted(self.places)
end

--- Dtype and shape of a tensor; nil if there is none of this name.
---@param name string
---@return { dtype: string, shape: integer[] }?
function Weights:info(name)
  local place = self.places[name]
  return place and place.file:info(place.name)
end

--- Reads a tensor.
---@param name string one that is there
---@return icot.Tensor float32 of its shape; float16 and bfloat16 are widened exactly
function Weights:read(name)
  local place = self.places[name]
  return place.file:read(place.name)
end

--- Reads a tensor into one that is there.
---@param name string one that is there
---@param into icot.Tensor of the same shape; may be a view
---raises an error when the shapes differ
function Weights:read_into(name, into)
  local place = self.places[name]
  place.file:read_into(place.name, into)
end

return pretrained_weights
