--- Where results lie: all of it follows from the path of a run file, or from that of a study's index.
---
---     results/mult.h5              the run file             results/arms.h5            the index
---     results/mult/                the model at its end     results/arms/icot-1.h5     a run of the study
---     results/mult/checkpoints/    its checkpoints          results/arms/icot-1.log    what that one has printed
---                                                           results/arms/study.json    what it was started with
---     results/mult.frontier.h5     what icot frontier has found
---     results/mult.probes.h5       what icot probe has found
local files = require 'icot.base.files'

local run_paths = {}

local function stem_of(path)
  return (path:gsub('%.h5$', ''))
end

--- The name of a run file or index, without folder and ending.
---@param path string
---@return string
function run_paths.name_of(path)
  return path:match('([^/]*)%.h5$')
end

-- ---- Of a run -----------------------------------------------------------------------------------

--- The folder for the model that a run ends with; of a study, the folder that its runs lie in.
---@param run string
---@return string
function run_paths.model_folder(run)
  return stem_of(run)
end

--- The folder for the checkpoints of a run.
---@param run string
---@return string
function run_paths.checkpoint_folder(run)
  return stem_of(run) .. '/checkpoints'
end

--- The run that a checkpoint is of, by where it lies.
---@param checkpoint string
---@return string? run nil: it does not lie where a run puts it
function run_paths.of_checkpoint(checkpoint)
  local stem = checkpoint:match('^(.*)/checkpoints/[^/]*/*$')
  return stem and stem .. '.h5'
end

--- Whether a path leads to the model that a run ends with, or to one of its checkpoints, by whatever name.
---@param run string
---@param path string
---@return boolean
function run_paths.holds(run, path)
  return files.is_same(path, run_paths.model_folder(run))
    or files.is_same(path .. '/..', run_paths.checkpoint_folder(run)) -- also of a link
end

--- The file for what a run prints, if it is a process of its own.
---@param run string
---@return string
function run_paths.log(run)
  return stem_of(run) .. '.log'
end

--- The run file of a run that may be named by the folder beside it, too: results/mult → results/mult.h5.
---@param given string
---@return string
function run_paths.run_file(given)
  given = given:gsub('(.)/+', '%1/')
  local folder = files.by_name((given:gsub('(.)/$', '%1')))
  local run = folder .. '.h5'
  if files.kind(folder) ~= 'directory' then return given end
  local has_results = files.kind(run) == 'file' or files.kind(run_paths.study_record(run))
    or files.kind(run_paths.checkpoint_folder(run))
  return has_results and run or given
end

-- ---- What is found out about it -----------------------------------------------------------------

--- The commands that write what they find beside a run file.
---@type table<string, string> the word in the file's name → the command
run_paths.findings = { frontier = 'frontier', probes = 'probe' }

--- The file for what a command finds out about a run.
---@param run string
---@param word string 'frontier', 'probes'
---@return string
function run_paths.of_findings(run, word)
  return ('%s.%s.h5'):format(stem_of(run), word)
end

--- The run that such a file is about.
---@param path string
---@return string? run nil: it is no such file
---@return string? command that has written it
function run_paths.of_which_findings(path)
  local stem, word = path:match('^(.*)%.(%a+)%.h5$')
  local command = word and run_paths.findings[word]
  if command then return stem .. '.h5', command end
end

-- ---- Of a study ---------------------------------------------------------------------------------

--- The run file of a study's run.
---@param index string
---@param arm string
---@param seed integer
---@return string
function run_paths.of_arm(index, arm, seed)
  return ('%s/%s-%d.h5'):format(stem_of(index), arm, seed)
end

--- The index of the study that a run would be one of.
---@param run string
---@return string
function run_paths.index_of(run)
  return files.by_name(files.folder_of(run)) .. '.h5'
end

--- The runs of a study that have left something.
---@param index string
---@param has_left fun(run: string): boolean
---@return string[] runs in order
function run_paths.runs_of(index, has_left)
  local folder, found = stem_of(index), {}
  if files.kind(folder) ~= 'directory' then return found end
  for _, name in ipairs(files.names_in(folder)) do -- each has a folder beside its run file
    local run = ('%s/%s.h5'):format(folder, name)
    if has_left(run) then found[#found + 1] = run end
  end
  return found
end

--- The file that says what a study was started with last.
---@param index string
---@return string
function run_paths.study_record(index)
  return stem_of(index) .. '/study.json'
end

--- Whether a path can be made of a name: letters, digits, - _ .
---@param value any
---@return boolean
function run_paths.is_name(value)
  return type(value) == 'string' and value:find('^[%w_.-]+$') ~= nil and not value:find('^%.+$')
end

return run_paths
