--- 4 x 4 digits with the shape of GPT-2 Small, from scratch, meant for ten minutes of a card: by this check.sh measures
--- accuracy. It is recipes/mult_4x4.lua for more and wider layers, with twice the batch.
return {
  method = 'icot',
  seed = 1,
  dataset = {
    task = 'multiplication', digits = 4, train = 1000000, sparse = 400000, zeros = 0.4, valid = 1000, test = 1000,
  },
  model = { preset = 'small' },
  precision = 'bf16',
  schedule = {
    kind = 'points',
    points = { { 900, 0 }, { 1300, 7 }, { 7000, 14 }, { 8500, 21 }, { 17000, 30 }, { 21000, 46 } },
  },
  removal = { side = 'left', smoothing = 0.1, smoothing_after = 300, positions = 'kept' },
  optimizer = {
    lr = 2e-4, clip = 1.0, warmup_steps = 200, reset = 'all', rewarmup_steps = 20,
    decay = 'linear', decay_steps = 20000,
  },
  train = { batch = 128, steps = 45000, log_every = 100, evaluate_every = 1000, stop_at_accuracy = 0.996 },
  evaluate = { examples = 1000, batch = 500 },
  checkpoint = { every_minutes = false, keep = { stages = 0, best = false } },
}
