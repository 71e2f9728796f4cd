-- A schedule of one's own, line by line: slow where it hurts, and only when the model is ready.
--
-- A schedule is a function. It is called before every update with the state of the training, and returns how many
-- CoT tokens are removed now. It must never return less than before, unless it goes back (see the README).

local PATIENCE = 200 -- updates that the model gets to recover from a removal, at least
local READY = 0.95   -- accuracy on the validation examples that it must show before the next one

---@param state icot.ScheduleState step, epoch, removed, max_cot, accuracy, own and a few more
---@return number removed CoT tokens to remove now
local function gated(state)
  -- `accuracy` comes from the last evaluation (train.evaluate_every); before the first there is none.
  if not state.accuracy or state.accuracy < READY then return state.removed end

  -- What a schedule has to remember it keeps in `state.own`, which is there again when a run is resumed: here the
  -- update at which `removed` grew last. Every removal is given some time, also when the accuracy did not fall.
  local own = state.own
  if state.step - (own.last_removal or 0) < PATIENCE then return state.removed end

  -- Two tokens at a time in the first half of the CoT, which is easy to do without; then one by one.
  own.last_removal = state.step
  local first_half = state.removed < state.max_cot / 2
  return state.removed + (first_half and 2 or 1)
end

return {
  method = 'icot',
  dataset = { task = 'multiplication', digits = 2, train = 3000, valid = 500, test = 500 },
  model = { layers = 2, heads = 4, width = 64 },

  schedule = gated, -- the function itself, in place of { kind = 'linear', … }

  removal = { positions = 'kept' },
  optimizer = { lr = 2e-3, warmup_steps = 50, rewarmup_steps = 10 },

  -- The schedule looks at the accuracy, so it is measured often.
  train = { batch = 64, steps = 6000, log_every = 50, evaluate_every = 100, stop_at_accuracy = 0.99 },
  evaluate = { examples = 200 },
}
