-- 4 x 4 digits with two layers: small enough for a CPU, and beyond what training without CoT can learn.
--
-- Two layers with four heads are what Bai et al. (2025) found to be enough for 4 x 4 with Stepwise Internalization;
-- their width is 768, this one is half of that.

return {
  method = 'icot',

  dataset = { task = 'multiplication', digits = 4, train = 808000, valid = 1000, test = 1000 },

  model = { layers = 2, heads = 4, width = 384 },

  -- 46 CoT tokens, one fewer every 300 updates, after 2,000 updates with all of them
  schedule = { kind = 'linear', steps_per_token = 300, explicit_steps = 2000 },

  -- every token keeps its position, so that nothing learned about positions is lost at a removal
  removal = { side = 'left', smoothing = 4, positions = 'kept' },

  optimizer = { lr = 5e-4, clip = 1.0, warmup_steps = 100, reset = 'all', rewarmup_steps = 20 },

  train = { batch = 64, steps = 40000, log_every = 50, evaluate_every = 1000, stop_at_accuracy = 0.999 },
}
