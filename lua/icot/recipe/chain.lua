--- The chain of trainings that a run with `method = 'icot_kd'` is: a teacher that writes its CoT, a student that reads
--- the teacher's states, an emulator that predicts them, and at last the two of them coupled. Each is a run of its own,
--- and starts from the models that those before it have left. The last has the arm's own name, `kd`, the others have
--- `kd.teacher`, `kd.student` and `kd.emulator`.
local limits = require 'icot.recipe.limits'
local methods = require 'icot.schedule.methods'
local values = require 'icot.base.values'

local chain = {}

chain.LAST = 'coupled'

--- The steps of a run's chain, in their order.
---@param config table resolved configuration
---@return string[]? steps nil: its method has no steps
function chain.steps(config)
  if not methods.is_distillation(config.method) then return nil end
  local steps = { 'student', 'emulator', chain.LAST }
  if not config.distillation.teacher then table.insert(steps, 1, 'teacher') end
  return steps
end

--- The arm of a step.
---@param arm string
---@param step string
---@return string
function chain.arm_of(arm, step)
  return step == chain.LAST and arm or arm .. '.' .. step
end

-- How long a step trains, and with which learning rate, where the recipe says something else than for the last one.
local function set_pace(config, given, step)
  local steps, lr = given[step .. '_steps'], given[step .. '_lr']
  if steps then limits.set(config.train, 'steps', steps) end
  config.optimizer.lr = lr or config.optimizer.lr
end

--- The configuration of a step.
---@param config table that of the whole chain
---@param step string
---@param folders table<string, string> where the steps before it leave their models
---@return table config a teacher's is that of explicit_cot; of the others `distillation` says no more than they need,
---   and where that is (`from`)
function chain.config(config, step, folders)
  local own, given = values.copy(config), config.distillation
  set_pace(own, given, step)
  own.distillation = nil
  if step == 'teacher' then
    own.method = 'explicit_cot'
    return own
  end
  own.distillation = {
    step = step, mixture = given.mixture, temperature = given.temperature, teacher = given.teacher,
    from = {
      teacher = step ~= chain.LAST and (given.teacher or folders.teacher) or nil,
      networks = step == 'emulator' and folders.student or step == chain.LAST and folders.emulator or nil,
    },
  }
  return own
end

return chain
