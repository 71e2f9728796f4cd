--- What a study was started with last: results/NAME/study.json. The checkpoints of its runs only tell what each of them
--- was started with, and a run that has not begun has none.
local checkpoint_format = require 'icot.saved.checkpoint_format'
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local json = require 'icot.base.json'
local options = require 'icot.base.options'
local run_paths = require 'icot.results.run_paths'
local values = require 'icot.base.values'

local study_record = {}

---@class icot.StudyRecord
---@field recipe_path string
---@field source string the recipe's text
---@field invocation { settings: string[], seed: integer? } see icot.Run
---@field runs string[] names of the run files, without folder and ending

local text = { type = 'string', required = true }
local known = {
  recipe_path = text, source = text, runs = { type = 'list', each = text, required = true },
  invocation = checkpoint_format.invocation,
}

--- Notes what a study is started with now, in place of what it was started with before.
---@param recipe icot.Recipe
---raises an error when the file cannot be written
function study_record.write(recipe)
  local first, runs = recipe.runs[1], {}
  for i, run in ipairs(recipe.runs) do runs[i] = run_paths.name_of(run.output) end
  local path = run_paths.study_record(recipe.output)
  files.make_folder(files.folder_of(path))
  core.write_file(path, json.encode {
    recipe_path = recipe.path, source = recipe.source, invocation = first.invocation, runs = runs,
  } .. '\n')
end

--- What the study of an index was started with.
---@param index_path string
---@return icot.StudyRecord? record nil: there is none, as of a study that an older version began
---raises an error when it is damaged
function study_record.read(index_path)
  local path = run_paths.study_record(index_path)
  if files.kind(path) ~= 'file' then return nil end
  local ok, result = pcall(function()
    local given = json.read_file(path, checkpoint_format.MOST_BYTES)
    if type(given) ~= 'table' then errors.raise('%s: is no record of a study', path) end
    return options.check(known, options.known_part(known, given), path)
  end)
  if ok then return result end
  if not errors.is_user_error(result) then error(result, 0) end
  errors.raise('%s; remove it to resume with what the runs were started with', result.message)
end

--- Whether a run is one of those that it was started with.
---@param record icot.StudyRecord
---@param run_path string of its run file
---@return boolean
function study_record.has(record, run_path)
  return values.is_one_of(run_paths.name_of(run_path), record.runs)
end

return study_record
