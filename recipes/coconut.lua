-- Continuous thoughts (Coconut) against Stepwise Internalization and against pauses, at equal updates: parity of 6 of
-- 16 bits, which ones is a secret of the dataset's seed.
--
-- The CoT has the parity of the first two of these bits, the first three, and so on: five steps, each of which needs
-- the one before, for two layers. Does it take a pass for each of them, a place for each, or neither?

return {
  seeds = { 1, 2, 3, 4 },

  dataset = { task = 'parity', bits = 16, parity = 6, order = 'chain', train = 50000, valid = 500, test = 1000 },
  model = { layers = 2, heads = 4, width = 128 },

  schedule = { kind = 'linear', explicit_steps = 1000, steps_per_token = 600 }, -- a step more every 600 updates

  -- a small λ (1.5 steps more on average): every stage is practised before its time has come
  removal = { unit = 'step', smoothing = 0.5, smoothing_after = 600, thoughts = 1 },

  optimizer = { lr = 1e-3, warmup_steps = 100, rewarmup_steps = 20, decay = 'linear' },
  train = { batch = 64, steps = 5500, log_every = 100, evaluate_every = 250 },
  evaluate = { examples = 500 },

  arms = {
    { name = 'coconut', method = 'coconut' }, -- a thought for each step that is gone
    { name = 'pause', method = 'pause' },     -- as many pauses, all at once
    { name = 'icot', method = 'icot' },       -- nothing
  },
}
