--- `icot checkpoints`: which checkpoints a run has kept, and how far internalization was at each.
---
---   icot checkpoints results/mult.h5
local checkpoint = require 'icot.saved.checkpoint'
local errors = require 'icot.base.errors'
local not_a_run = require 'icot.saved.not_a_run'
local run_paths = require 'icot.results.run_paths'
local terminal = require 'icot.base.terminal'
local text_table = require 'icot.base.text_table'
local training_state = require 'icot.saved.training_state'

local command = {}

--- Describes the command to the argument parser.
---@param parser table of lua-argparse
function command.configure(parser)
  parser:argument('run', 'a run file, such as results/mult_4x4/icot-1.h5'):argname('RUN')
end

-- What one checkpoint is, as a row of the table; nil, if it cannot be read: then the user is told.
local function row_of(found)
  local ok, description = pcall(checkpoint.read_description, found.path)
  if not ok then
    if not errors.is_user_error(description) then error(description, 0) end
    if checkpoint.is_at(found.path) then terminal.tell(errors.describe(description)) end -- not if it is gone meanwhile
    return nil
  end
  local state, kept_for = description.state, description.kept_for or {}
  local beyond, removed = description.config.removal.remove_all_beyond, training_state.unpack_removed(state.removed)
  return {
    step = state.step, path = found.path, accuracy = state.accuracy,
    removed = state.step > 0 and (beyond and removed >= beyond and math.huge or removed) or nil,
    result = description.result, stage = kept_for.stage, best = kept_for.best,
  }
end

-- Each was the best when it was written; the newest of them still is.
local function keep_last_best(rows)
  local seen = false
  for i = #rows, 1, -1 do
    rows[i].best, seen = rows[i].best and not seen, seen or rows[i].best
  end
end

local function removed_text(removed)
  return removed == math.huge and 'all' or ('%d'):format(removed)
end

-- Why it is there.
local function kept_as(row, is_newest)
  local reasons = {}
  if row.stage then reasons[#reasons + 1] = 'end of a stage' end
  if row.best then reasons[#reasons + 1] = 'best' end
  if row.result then reasons[#reasons + 1] = ('end of the run (%s)'):format(row.result.status) end
  if #reasons == 0 then reasons[1] = is_newest and 'newest' or 'one of the last' end
  return table.concat(reasons, ', ')
end

--- Runs the command.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error when there is no such run, or it has no checkpoint that can be read
function command.run(args)
  local rows = {}
  for _, found in ipairs(checkpoint.list(run_paths.checkpoint_folder(args.run))) do rows[#rows + 1] = row_of(found) end
  keep_last_best(rows)
  if #rows == 0 then not_a_run.raise_missing(args.run, 'checkpoints') end
  local column, newest = text_table.column, rows[#rows]
  local lines = text_table.lay_out({
    column('step', 'step', '%d'), column('removed', 'removed', removed_text), column('accuracy', 'accuracy', '%.4f'),
    { 'kept as', function(row) return kept_as(row, row == newest) end, text = true },
    { 'checkpoint', function(row) return row.path end, text = true },
  }, rows)
  text_table.print(io.stdout, lines)
  return 0
end

return command
