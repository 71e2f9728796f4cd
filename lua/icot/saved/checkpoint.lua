--- Checkpoints: folders that hold all that a run is at one of its steps.
---
---     model.safetensors, config.json, the vocabulary   a model that Hugging Face and `model.pretrained` open
---     distillation.safetensors   the networks beside it, where there are some (icot.model.model_file)
---     moments.safetensors     of AdamW; not there where the next update resets them anyway
---     run.h5                  the run file as it was
---     recipe.lua              the recipe's text
---     checkpoint.json         everything else, as icot.saved.checkpoint_format says
---
--- A checkpoint of step 0 has only the last two, and run.h5 if the run was stopped there: all else follows from the
--- recipe. A folder appears under its name when all of it is on the disk; its name is its step.
local ffi = require 'ffi'
local checkpoint_format = require 'icot.saved.checkpoint_format'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local json = require 'icot.base.json'
local model_file = require 'icot.model.model_file'
local pretrained = require 'icot.gpt2.pretrained'
local safetensors = require 'icot.tensor.safetensors'
local values = require 'icot.base.values'
local whole_folder = require 'icot.engine.whole_folder'

local checkpoint = {}

local FORMAT = 1 -- raised when older checkpoints can no longer be read
local LONGEST = checkpoint_format.MOST_BYTES
local DESCRIPTION, MOMENTS, RUN_FILE, RECIPE = 'checkpoint.json', 'moments.safetensors', 'run.h5', 'recipe.lua'
local WORK = '.partial' -- ends the name of a folder that is being made, or is about to go

---@param folder string
---@param step integer
---@return string path of the checkpoint of a step
function checkpoint.path(folder, step)
  return ('%s/step-%09d'):format(folder, step)
end

--- The checkpoints in a folder, the oldest first.
---@param folder string need not be there
---@return { step: integer, path: string }[]
function checkpoint.list(folder)
  local found = {}
  if files.kind(folder) ~= 'directory' then return found end
  for _, name in ipairs(files.names_in(folder)) do
    local step = name:match('^step%-(%d+)$')
    if step then found[#found + 1] = { step = tonumber(step), path = folder .. '/' .. name } end
  end
  table.sort(found, function(a, b) return a.step < b.step end)
  return found
end

--- Whether a path is that of a checkpoint, readable or not.
---@param path string
---@return boolean
function checkpoint.is_at(path)
  return files.kind(path .. '/' .. DESCRIPTION) ~= nil
end

--- Removes a checkpoint. It loses its name first, so that there is never half of one.
---@param path string
function checkpoint.remove(path)
  files.remove_tree(path .. WORK)
  if os.rename(path, path .. WORK) then files.remove_tree(path .. WORK) end
end

--- Removes what a process that was killed has left half made or half removed.
---@param folder string need not be there
function checkpoint.tidy(folder)
  if files.kind(folder) ~= 'directory' then return end
  for _, name in ipairs(files.names_in(folder)) do
    local path = folder .. '/' .. name
    local replaced = path:match('^(.*)%.aside$') -- by icot_folder_publish, which was on its way
    if name:sub(-#WORK) == WORK then files.remove_tree(path) end
    if replaced and not files.kind(replaced) then os.rename(path, replaced) end
    if replaced then files.remove_tree(path) end
  end
end

-- ---- Writing ------------------------------------------------------------------------------------

---@class icot.CheckpointParts
---@field description table { state = …, config = …, … }: what checkpoint.json shall say
---@field source string the recipe's text
---@field model? icot.Model with its `words`; nil at step 0
---@field words? icot.Vocabulary|icot.Tokenizer
---@field optimizer? icot.AdamW nil: the moments are not needed
---@field log? icot.RunLog nil: there is no run file yet

local function moment_tensors(model, optimizer)
  local tensors = {}
  for i, each in ipairs(model:named_parameters()) do
    tensors[each.name .. '.exp_avg'] = optimizer.exp_avg[i]
    tensors[each.name .. '.exp_avg_sq'] = optimizer.exp_avg_sq[i]
  end
  return tensors
end

-- Tells a file from one that was damaged: its length, and FNV-1a over its bytes.
local function digest_of(path)
  local bytes, digest = 0, bit.tobit(0x811C9DC5)
  files.in_pieces(path, function(piece)
    local start = ffi.cast('const uint8_t *', piece)
    for i = 0, #piece - 1 do digest = bit.tobit(bit.bxor(digest, start[i]) * 0x01000193ll) end
    bytes = bytes + #piece
  end)
  return ('%d-%s'):format(bytes, bit.tohex(digest))
end

-- The run file comes before the description, which tells its digest: HDF5 may crash on one that is damaged.
local function write_parts(folder, parts)
  if parts.log then
    parts.log:snapshot(folder .. '/' .. RUN_FILE)
    parts.description.run_file = digest_of(folder .. '/' .. RUN_FILE)
  end
  parts.description.format, parts.description.moments = FORMAT, parts.optimizer ~= nil
  local description = json.encode(parts.description) .. '\n'
  if #description > LONGEST then
    errors.raise('%s would have %d bytes, %d at most; does the schedule keep that much in state.own?', DESCRIPTION,
                 #description, LONGEST)
  end
  core.write_file(folder .. '/' .. DESCRIPTION, description)
  core.write_file(folder .. '/' .. RECIPE, parts.source)
  if parts.model then model_file.save(folder, parts.model, parts.words) end
  if parts.optimizer then
    safetensors.save_file(moment_tensors(parts.model, parts.optimizer), folder .. '/' .. MOMENTS)
  end
end

--- Writes a checkpoint; one of the same step is replaced.
---@param path string from `checkpoint.path`
---@param parts icot.CheckpointParts
---raises an error when it cannot be written; nothing is left of it then, and what was there stays
function checkpoint.write(path, parts)
  local work, replaces = path .. WORK, files.kind(path) ~= nil
  files.remove_tree(work)
  whole_folder.make(path, work, replaces, function()
    files.make_folder(work)
    write_parts(work, parts)
  end)
end

-- ---- Reading ------------------------------------------------------------------------------------

---@class icot.Checkpoint one that has been read and looks whole
---@field path string
---@field description table
---@field source string the recipe's text
---@field model_folder string? nil at step 0
---@field moments string? path; nil: they are zero
---@field run_file string? path; nil: there was no run file yet

local function existing(path)
  return files.kind(path) == 'file' and path or nil
end

--- What checkpoint.json says.
---@param folder string a checkpoint
---@return table
function checkpoint.read_description(folder)
  local path = folder .. '/' .. DESCRIPTION
  local description = json.read_file(path, LONGEST)
  if type(description) ~= 'table' then errors.raise('%s: got %s, expected a table', path, values.show(description)) end
  if description.format ~= FORMAT then
    errors.raise('%s: format is %s, this version of icot reads %d', path, values.show(description.format), FORMAT)
  end
  checkpoint_format.check(description, path)
  return description
end

--- Whether a checkpoint was kept because it ends a stage.
---@param description table what its checkpoint.json says
---@return boolean?
function checkpoint.ends_stage(description)
  return description.kept_for and description.kept_for.stage
end

-- Without one of its parts a checkpoint would be that of another training.
local function require_parts(self)
  local description = self.description
  local missing = description.state.step > 0 and not self.model_folder and 'model.safetensors'
    or description.moments and not self.moments and MOMENTS
    or description.run_file and not self.run_file and RUN_FILE
  if missing then errors.raise('%s/%s: is missing', self.path, missing) end
end

--- Reads a checkpoint, all but its tensors, and makes sure that its files are there and have their length.
---@param path string
---@return icot.Checkpoint
---raises an error that names the file and what is wrong with it
function checkpoint.read(path)
  local self = {
    path = path, description = checkpoint.read_description(path),
    source = files.read(path .. '/' .. RECIPE, LONGEST), moments = existing(path .. '/' .. MOMENTS),
    run_file = existing(path .. '/' .. RUN_FILE),
  }
  self.model_folder = model_file.is_in(path) and path
  require_parts(self)
  if self.run_file and digest_of(self.run_file) ~= self.description.run_file then
    errors.raise('%s: is damaged: its contents are not what was written', self.run_file)
  end
  for _, name in ipairs { MOMENTS, model_file.OTHERS } do
    if existing(path .. '/' .. name) then safetensors.open(path .. '/' .. name):close() end
  end
  if self.model_folder then pretrained.inspect(path, 'checkpoint') end
  return self
end

--- Reads the moments of a checkpoint into an optimizer.
---@param optimizer icot.AdamW its moments are zero
---@param self icot.Checkpoint
---@param model icot.Model
---raises an error when the file has other tensors than the model has parameters, or of other shapes
function checkpoint.read_moments(optimizer, self, model)
  if not self.moments then return end
  safetensors.load_into(self.moments, moment_tensors(model, optimizer), 'the optimizer')
end

return checkpoint
