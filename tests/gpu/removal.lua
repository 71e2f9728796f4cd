--- 300 updates in which all CoT is removed, small enough for a CPU: what check.sh compares devices by.
return {
  method = 'icot',
  dataset = { task = 'multiplication', digits = 3, train = 20000, valid = 200, test = 200 },
  model = { layers = 2, heads = 4, width = 128, dropout = 0.1 },
  schedule = { kind = 'linear', steps_per_token = 10 },
  removal = { side = 'left', smoothing = 4 },
  optimizer = { lr = 3e-4, clip = 1.0, reset = 'all' },
  train = { batch = 32, steps = 300, log_every = 1, evaluate_every = 300 },
  evaluate = { examples = 200 },
  checkpoint = { every_steps = 50 },
}
