-- Parity by the geometric schedule: 4 of 20 bits count, which ones is a secret of the dataset's seed.
--
-- Single bits of a parity tell nothing about it, so without CoT nothing is learned in this time. The CoT pairs the bits
-- that count, then the pairs, level by level up to the answer; each stage of the geometric schedule (Log-ICoT) takes
-- one level away, the lowest first, and leaves it to the hidden states.

return {
  method = 'icot',
  seeds = { 1, 2, 3, 4 },

  dataset = { task = 'parity', bits = 20, parity = 4, order = 'tree', train = 200000, valid = 1000, test = 1000 },

  -- a layer for each level and one for the answer; eight heads, so that some find the right pairs of bits early
  model = { layers = 3, heads = 8, width = 128, initializer_range = 0.05 },
  precision = 'bf16',

  -- 3 tokens: 1 is left, then none
  schedule = { kind = 'geometric', explicit_steps = 1000, steps_per_stage = 1000 },

  -- a small λ (2.9 tokens on average): every stage is practised before its time has come
  removal = { side = 'left', positions = 'kept', smoothing = 0.3, smoothing_after = 600 },

  optimizer = { lr = 1e-3, clip = 1.0, warmup_steps = 100, reset = 'all', rewarmup_steps = 20, decay = 'linear' },
  train = { batch = 64, steps = 4000, log_every = 100, evaluate_every = 250 },

  arms = {
    { name = 'no_cot', method = 'no_cot' },
    { name = 'geometric' },
    { name = 'geometric_no_smoothing', removal = { smoothing = false } },
    { name = 'linear', schedule = { kind = 'linear', explicit_steps = 1000, steps_per_token = 667 } },
  },
}
