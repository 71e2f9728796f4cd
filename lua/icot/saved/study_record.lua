--- What a study was started with last: results/NAME/study.json. The checkpoints of its runs only tell what each of them
--- was started with, and a run that has not begun has none.
local core = require 'icot.engine.core'
local errors = require 'icot.base.errors'
local files = require 'icot.base.files'
local json = require 'icot.base.json'
local options = require 'icot.base.options'
local run_paths = require 'icot.results.run_paths'

local study_record = {}

local MOST_BYTES = 64 * 2 ^ 20

---@class icot.StudyRecord
---@field recipe_path string
---@field source string the recipe's text
---@field invocation { settings: string[], seed: integer? } see icot.Run
---@field runs string[] names of the run files, without folder and ending

local text = { type = 'string', required = true }
local known = {
  recipe_path = text, source = text, runs = { type = 'list', each = text, required = true },
  invocation = { type = 'table', fields = {
    settings = { type = 'list', each = text, required = true }, seed = { type = 'integer', min = 0 },
  } },
}

local function path_of(index_path)
  return run_paths.model_folder(index_path) .. '/study.json'
end

local function name_of(run_path)
  return run_path:match('([^/]*)%.h5$')
end

--- Notes what a study is started with now, in place of what it was started with before.
---@param recipe icot.Recipe
---raises an error when the file cannot be written
function study_record.write(recipe)
  local first, runs = recipe.runs[1], {}
  for i, run in ipairs(recipe.runs) do runs[i] = name_of(run.output) end
  local path = path_of(recipe.output)
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
  local path = path_of(index_path)
  if files.kind(path) ~= 'file' then return nil end
  local given = json.read_file(path, MOST_BYTES)
  if type(given) ~= 'table' then errors.raise('%s: is no record of a study', path) end
  return options.check(known, given, path)
end

--- Whether a run is one of those that it was started with.
---@param record icot.StudyRecord
---@param run_path string of its run file
---@return boolean
function study_record.has(record, run_path)
  for _, name in ipairs(record.runs) do
    if name == name_of(run_path) then return true end
  end
  return false
end

return study_record
