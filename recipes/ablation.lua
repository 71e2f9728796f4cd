-- What Stepwise Internalization needs: the ablations of the paper's Figure 3, on a task of minutes.
--
-- There it is 7 x 7 digits with GPT-2 Small, where each of these arms but the first loses the accuracy for good. Here
-- it is 3 x 2 digits, which no_cot does not learn in as many updates. What is left of the accuracy at each number of
-- removed tokens is in the run files of the study; recipes/notebooks/read_a_run.ipynb draws it. The README has the
-- results.

return {
  method = 'icot',
  seeds = { 1, 2, 3, 4 },

  dataset = { task = 'multiplication', digits = { 3, 2 }, train = 78000, valid = 1000, test = 1000 },
  model = { layers = 2, heads = 4, width = 128 },
  precision = 'bf16',

  -- 10 CoT tokens, one fewer every 500 updates
  schedule = { kind = 'linear', explicit_steps = 1500, steps_per_token = 500 },
  removal = { side = 'left', smoothing = 4, positions = 'closed_up' },
  optimizer = { lr = 1e-3, clip = 1.0, warmup_steps = 100, reset = 'all' },
  train = { batch = 64, steps = 8000, log_every = 100, evaluate_every = 250 },

  arms = {
    { name = 'full' },
    { name = 'no_smoothing', removal = { smoothing = false } },
    { name = 'no_reset', optimizer = { reset = 'keep' } },
    { name = 'right_side', removal = { side = 'right' } }, -- a reset at each removal; the paper's code makes one
    { name = 'aggressive', schedule = { kind = 'linear', explicit_steps = 1500, steps_per_token = 250 } },
    { name = 'very_aggressive', schedule = { kind = 'linear', explicit_steps = 1500, steps_per_token = 125 } },
    { name = 'no_cot', method = 'no_cot' },
  },
}
