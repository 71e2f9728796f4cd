-- Gated removal against linear at equal updates, on the task and with the settings of recipes/ablation.lua.
--
-- A linear schedule removes the next token when its time has come, a gated one when the model has mastered what it does
-- now: it cannot outrun the model, but it also has to wait where a linear one would have recovered further on.

local function linear(steps_per_token)
  return { kind = 'linear', explicit_steps = 1500, steps_per_token = steps_per_token }
end

return {
  method = 'icot',
  seeds = { 1, 2, 3, 4 },

  dataset = { task = 'multiplication', digits = { 3, 2 }, train = 78000, valid = 1000, test = 1000 },
  model = { layers = 2, heads = 4, width = 128 },
  precision = 'bf16',

  removal = { side = 'left', smoothing = 4, positions = 'closed_up' },
  optimizer = { lr = 1e-3, clip = 1.0, warmup_steps = 100, reset = 'all' },
  train = { batch = 64, steps = 8000, log_every = 100, evaluate_every = 250 },

  arms = {
    { name = 'linear', schedule = linear(500) }, -- all 10 tokens are removed after 6,500 updates
    { name = 'linear_fast', schedule = linear(250) },

    -- two tokens fewer whenever 90 % of the validation examples are right; back after six validations that were not
    { name = 'gated', schedule = { kind = 'gated', explicit_steps = 1500, tokens = 2, threshold = 0.9, patience = 6 } },

    -- one token fewer whenever 80 % are right, looked at more often; never back
    {
      name = 'gated_fine',
      schedule = { kind = 'gated', explicit_steps = 1500, tokens = 1, threshold = 0.8, patience = false },
      train = { evaluate_every = 100 }, evaluate = { examples = 500 },
    },
  },
}
