--- Says when a run is due for a checkpoint, writes it, and removes those that need not be kept.
---
--- Kept are the newest ones, those of stage ends, and the one that did best: the highest validation accuracy among
--- the evaluations with the most CoT removed.
local checkpoint = require 'icot.saved.checkpoint'
local core = require 'icot.engine.core'
local divergence = require 'icot.training.divergence'
local errors = require 'icot.base.errors'
local json = require 'icot.base.json'
local machine = require 'icot.engine.machine'

local C = core.C
local checkpoint_keeper = {}

---@class icot.CheckpointKeeper
---@field folder string
---@field options table `checkpoint` of a recipe
---@field entries { step: integer, path: string, stage: boolean?, best: boolean? }[] the oldest first
---@field best { removed: integer, accuracy: number }? what a new best has to surpass
---@field best_saved { removed: integer, accuracy: number }? the same as the newest checkpoint has it
---@field seconds number spent on checkpoints
local Keeper = {}
Keeper.__index = Keeper

-- What a checkpoint is kept for; one that cannot be read is only there as long as it is among the newest.
local function entry_of(found)
  local ok, read = pcall(checkpoint.read_description, found.path)
  local kept_for = ok and type(read.kept_for) == 'table' and read.kept_for or {}
  return { step = found.step, path = found.path, stage = kept_for.stage, best = kept_for.best }
end

--- The keeper of a run's checkpoints.
---@param folder string
---@param options table `checkpoint` of a recipe
---@param from? icot.Checkpoint the one that the run continues from; newer ones are left alone until they are replaced
---@return icot.CheckpointKeeper
function checkpoint_keeper.new(folder, options, from)
  local self = setmetatable({ folder = folder, options = options, entries = {}, seconds = 0 }, Keeper)
  checkpoint.tidy(folder)
  for i, found in ipairs(checkpoint.list(folder)) do self.entries[i] = entry_of(found) end
  self.best = from and from.description.best
  self.best_saved = self.best
  self.last_time, self.last_step = C.icot_seconds(), from and from.description.state.step
  return self
end

--- The step of the newest checkpoint.
---@return integer? step nil: there is none
function Keeper:last_good()
  local last = self.entries[#self.entries]
  return last and last.step
end

--- The newest checkpoint of a stage's end.
---@param is_wanted fun(description: table): boolean of those
---@return icot.Checkpoint? nil: there is none any more
function Keeper:stage_end(is_wanted)
  for i = #self.entries, 1, -1 do
    local path = self.entries[i].stage and self.entries[i].path
    if path and is_wanted(checkpoint.read_description(path)) then return checkpoint.read(path) end
  end
end

-- ---- When ---------------------------------------------------------------------------------------

-- The checkpoint of this step, if there is one.
local function entry_at(self, step)
  local last = self.entries[#self.entries] or {}
  return last.step == step and last or {}
end

local function is_due(self, step)
  local minutes, steps = self.options.every_minutes, self.options.every_steps
  return minutes and C.icot_seconds() - self.last_time >= 60 * minutes or steps and step % steps == 0
end

--- Takes in an evaluation of the validation examples at this step.
---@param removed integer
---@param accuracy number NaN: there are none, so none is the best
function Keeper:note_accuracy(removed, accuracy)
  local best = self.best
  if accuracy ~= accuracy then return end
  if best and (removed < best.removed or removed == best.removed and accuracy <= best.accuracy) then return end
  self.best, self.is_best = { removed = removed, accuracy = accuracy }, self.options.keep.best
end

--- Forgets what was the best since a checkpoint, to which the training goes back.
---@param from icot.Checkpoint
function Keeper:go_back(from)
  self.best, self.best_saved, self.is_best = from.description.best, from.description.best, nil
end

--- Writes a checkpoint if there is a reason to, between the plan of an update and the update.
---@param training icot.Training
function Keeper:consider(training)
  local step, there = training.state.step, entry_at(self, training.state.step)
  local stage = self.options.keep.stages ~= 0 and training:begins_stage(training.planned)
  -- a run that was stopped here wrote its checkpoint before it knew that this step ends a stage, or is the best
  local is_for_more = stage and not there.stage or self.is_best and not there.best
  if is_for_more or step ~= self.last_step and is_due(self, step) then self:save(training, { stage = stage }) end
end

-- ---- Writing ------------------------------------------------------------------------------------

-- What checkpoint.json says beside the state of the training.
local function complete(self, description, run)
  description.recipe, description.recipe_path, description.invocation = run.recipe, run.recipe_path, run.invocation
  description.arm, description.seed, description.config = run.arm, run.seed, json.decode(run.config_json)
  description.best, description.time = self.best, machine.time()
  description.machine = machine.now()
end

local function add_entry(self, entry)
  local last = self.entries[#self.entries]
  while last and last.step >= entry.step do -- of an attempt that went further
    if last.step > entry.step then checkpoint.remove(last.path) end
    table.remove(self.entries)
    last = self.entries[#self.entries]
  end
  table.insert(self.entries, entry)
end

-- Takes in a checkpoint that was written, and the time that it took.
local function note_written(self, training, entry, started)
  add_entry(self, entry)
  self:prune()
  self.is_best, self.last_time, self.last_step = nil, C.icot_seconds(), entry.step
  self.best_saved = self.best
  self.seconds = self.seconds + self.last_time - started
  training.meter:pause(self.last_time - started)
end

---@class icot.CheckpointReason for checkpoint.json
---@field stage? boolean it is the end of a stage
---@field stopped_by? string the run ends here for now
---@field result? icot.RunResult the run is over

-- What is to be written, and where. A checkpoint that is written once more is kept for all that it was kept for.
local function prepare(self, training, why)
  local parts, step = training:checkpoint_parts(), training.state.step
  local same = entry_at(self, step)
  local entry = {
    step = step, path = checkpoint.path(self.folder, step),
    stage = why.stage or same.stage, best = self.is_best or same.best,
  }
  complete(self, parts.description, training.run)
  parts.description.kept_for = { stage = entry.stage, best = entry.best }
  parts.description.stopped_by, parts.description.result = why.stopped_by, why.result
  return entry, parts
end

local function write(model, path, parts)
  if not divergence.has_finite_parameters(model) then errors.raise('the parameters are no longer finite numbers') end
  checkpoint.write(path, parts)
end

--- Writes a checkpoint of the training as it is now. If it cannot be written, only this checkpoint is lost, and
--- the user is told.
---@param training icot.Training
---@param why icot.CheckpointReason
---@return boolean saved
---raises an error when the schedule keeps what no checkpoint can hold
function Keeper:save(training, why)
  local started = C.icot_seconds()
  local entry, parts = prepare(self, training, why)
  local ok, problem = pcall(write, training.model, entry.path, parts)
  if ok then
    note_written(self, training, entry, started)
  elseif errors.is_user_error(problem) then
    self.last_time = C.icot_seconds() -- the next attempt is as far away as ever
    self.best, self.is_best = self.best_saved, nil -- and what was the best is lost, for one that comes later
    local notes = { ('no checkpoint at step %d: %s'):format(entry.step, errors.describe(problem)) }
    if self:last_good() then notes[2] = 'the previous one is kept' end
    if not why.stopped_by and not why.result then notes[#notes + 1] = 'training continues' end
    training.progress:warn(table.concat(notes, '; '))
  else
    error(problem, 0)
  end
  return ok
end

-- ---- Keeping ------------------------------------------------------------------------------------

-- The number of stage ends that are kept.
local function most_stages(keep)
  return keep.stages == 'all' and math.huge or keep.stages
end

--- Removes the checkpoints that the recipe does not want kept.
---@param only_last? boolean of the newest ones only one: the run is over
function Keeper:prune(only_last)
  local keep, kept, stages, best_seen = self.options.keep, {}, 0, false
  local newest = only_last and 1 or keep.last
  for i = #self.entries, 1, -1 do
    local entry = self.entries[i]
    local wanted = #self.entries - i < newest
    if entry.stage then
      stages = stages + 1
      wanted = wanted or stages <= most_stages(keep)
    end
    if entry.best and not best_seen then best_seen, wanted = true, wanted or keep.best end
    if wanted then table.insert(kept, 1, entry) else checkpoint.remove(entry.path) end
  end
  self.entries = kept
end

return checkpoint_keeper
