--- The methods of training: what becomes of the CoT.
---
---   no_cot        it is never shown
---   explicit_cot  all of it is kept
---   icot          Stepwise Internalization (Deng, Choi, Shieber 2024): the schedule removes more and more of it
---   pause         the same, but a pause token stands where each removed token stood (Goyal et al. 2024): the model has
---                 as many hidden states as with all CoT, so that a comparison shows what their number alone is worth
---   coconut       the same, but continuous thoughts come in for removed tokens or steps: the model's own last hidden
---                 states, each read in the place of a token (Hao et al. 2024); see icot.model.coconut.model
---   icot_kd       a student is given the hidden states of a teacher that writes its CoT, then predicts them itself
---                 (Deng et al. 2023); a chain of trainings, see icot.recipe.chain
local methods = {}

methods.names = { 'no_cot', 'explicit_cot', 'icot', 'pause', 'coconut', 'icot_kd' }

local fixed_removal = { no_cot = math.huge, explicit_cot = 0, icot_kd = math.huge }

--- What a method removes that has no schedule.
---@param name string
---@return number? removed math.huge: everything; nil: what the schedule of the recipe says
function methods.fixed_removal(name)
  return fixed_removal[name]
end

--- Whether a method removes what the schedule of the recipe says.
---@param name string
---@return boolean
function methods.has_schedule(name)
  return fixed_removal[name] == nil
end

--- Whether pause tokens stand in for removed tokens; where thoughts do, pauses mark their places.
---@param name string
---@return boolean
function methods.has_pauses(name)
  return name == 'pause' or name == 'coconut'
end

--- Whether continuous thoughts come in for what is removed.
---@param name string
---@return boolean
function methods.has_thoughts(name)
  return name == 'coconut'
end

--- Whether several networks are trained one after the other (icot.model.distillation), rather than one GPT-2.
---@param name string
---@return boolean
function methods.is_distillation(name)
  return name == 'icot_kd'
end

return methods
