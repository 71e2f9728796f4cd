--- `icot export`: saves the model of a run, or of a checkpoint, as a folder that Hugging Face opens.
---
---   icot export results/mult.h5 mult-model
---   icot export results/mult/checkpoints/step-000004000 stage-3
---   GPT2LMHeadModel.from_pretrained('mult-model')
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local lfs = require 'lfs'
local model_file = require 'icot.model.model_file'
local not_a_run = require 'icot.saved.not_a_run'
local pretrained = require 'icot.gpt2.pretrained'
local run_paths = require 'icot.results.run_paths'
local terminal = require 'icot.base.terminal'
local whole_folder = require 'icot.engine.whole_folder'

local C, check = core.C, core.check
local export = {}

local WHERE = 'export' -- begins a message, after the program's name
local MOST_TRIES = 1000

--- Describes the command to the argument parser.
---@param command table a command of lua-argparse
function export.configure(command)
  command:argument('run', 'the run file, such as results/mult_4x4/icot-1.h5, or a checkpoint'):argname('RUN')
  command:argument('dir', 'the folder to make'):argname('DIR')
  command:flag('--force', 'replace the folder if it is there, as long as it holds nothing but a model')
end

-- ---- The run ------------------------------------------------------------------------------------

-- The folder with the model of a run; a checkpoint is such a folder itself.
local function model_of(run)
  if model_file.is_in(run) then return run end
  local folder = run_paths.model_folder(run)
  if model_file.is_in(folder) then return folder end
  not_a_run.refuse(run, WHERE)
  errors.raise("%s: %s: there is no model in %s; a run saves it when it ends, unless its parameters became NaN", WHERE,
               run, folder)
end

-- ---- The folder ---------------------------------------------------------------------------------

-- Only a folder that holds nothing but a model is replaced.
local function require_replaceable(folder)
  local expected = {}
  for _, name in ipairs(model_file.EXPORTED) do expected[name] = true end
  for _, name in ipairs(files.names_in(folder)) do
    if not expected[name] then
      errors.raise('%s: %s: holds %s, which is not part of a model; choose another folder', WHERE, folder, name)
    end
  end
end

local function check_target(folder, force)
  local kind = files.kind(folder)
  if not kind then return false end
  if kind ~= 'directory' then errors.raise('%s: %s: is a %s, expected a folder to make', WHERE, folder, kind) end
  if not force then errors.raise('%s: %s: already exists; --force replaces it', WHERE, folder) end
  require_replaceable(folder)
  return true
end

-- Copies the parts that are there; gives their names.
local function copy_parts(from, to)
  local copied = {}
  for _, name in ipairs(model_file.EXPORTED) do
    if files.kind(from .. '/' .. name) then
      check(C.icot_file_copy(from .. '/' .. name, to .. '/' .. name))
      copied[#copied + 1] = name
    end
  end
  return copied
end

-- Not the whole tree: of a folder of the user's only what icot would put there may go.
local function remove_parts(folder)
  for _, name in ipairs(model_file.EXPORTED) do os.remove(folder .. '/' .. name) end
  lfs.rmdir(folder)
end

-- An empty folder with a name that is not taken: of several processes that try to make it one succeeds.
local function new_folder_beside(target)
  files.make_folder(files.folder_of(target))
  for number = 1, MOST_TRIES do
    local path = ('%s.partial-%d'):format(target, number)
    local made, message = lfs.mkdir(path)
    if made then return path end
    if not files.kind(path) then errors.raise('%s: cannot make this folder: %s', target, message) end
  end
  errors.raise('%s: %s.partial-1 to %d are left over from killed processes; remove them', WHERE, target, MOST_TRIES)
end

-- What the model was trained with that Hugging Face has no place for.
local function tell_what_it_lacks(from)
  if files.kind(from .. '/' .. model_file.OTHERS) then
    terminal.tell(('this is the student alone: it answers well only with the states that %s/%s puts at its first '
                   .. '<eos>, which Hugging Face cannot use'):format(from, model_file.OTHERS))
  elseif model_file.has_thoughts(from) then
    terminal.tell("this is the GPT-2 alone: it was trained with continuous thoughts after the first <eos>, but Hugging "
                  .. "Face's generate runs it without any")
  end
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error when there is no model, or the folder cannot be made
function export.run(args)
  local from, target = model_of(args.run), #args.dir > 1 and args.dir:gsub('/+$', '') or args.dir
  if target == '' then errors.raise('%s: DIR is empty', WHERE) end
  local replaces = check_target(target, args.force)
  pretrained.inspect(from, WHERE)
  local copied = whole_folder.make(target, new_folder_beside(target), replaces, function(work)
    return copy_parts(from, work)
  end, remove_parts)
  if not io.stdout:write(('%s: %s\n'):format(target, table.concat(copied, ', '))) or not io.stdout:flush() then
    errors.raise('%s: cannot write to the terminal', WHERE)
  end
  tell_what_it_lacks(from)
  return 0
end

return export
