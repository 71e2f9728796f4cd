-- The idea in some minutes: 3 x 3 digits, three ways of training.
--
--   no_cot        is never shown how a product is worked out; as many updates as icot
--   explicit_cot  writes all partial products and sums before the answer, and needs few updates
--   icot          starts like explicit_cot, then unlearns to write, token by token, and keeps what it can

return {
  method = 'icot',
  seed = 1,

  dataset = { task = 'multiplication', digits = 3, train = 400000, valid = 1000, test = 1000 },

  model = { layers = 2, heads = 8, width = 128, initializer_range = 0.07 },

  -- all 24 CoT tokens for 2,500 updates, then one fewer every 60
  schedule = { kind = 'linear', steps_per_token = 60, explicit_steps = 2500 },

  removal = {
    side = 'left',
    -- a small λ: offsets of 12 tokens on average, so that every stage is practised from the first update on
    smoothing = 0.08,
    -- every token keeps its position, so that nothing learned about positions is lost at a removal
    positions = 'kept',
  },

  -- moments are forgotten whenever another token goes, and the learning rate rises anew in 20 updates
  optimizer = { lr = 1e-3, clip = 1.0, warmup_steps = 100, reset = 'all', rewarmup_steps = 20, decay = 'linear' },

  train = { batch = 128, steps = 7500, log_every = 50, evaluate_every = 500 },

  arms = {
    { name = 'no_cot', method = 'no_cot' },
    { name = 'explicit_cot', method = 'explicit_cot', train = { steps = 1000 }, removal = { smoothing = false } },
    { name = 'icot' },
  },
}
