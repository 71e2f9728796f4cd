--- 300 updates in which all CoT is removed, small enough for a CPU: what check.sh compares devices by.
---
--- Right after a reset AdamW moves a parameter by lr·g/(|g| + eps): with the usual eps a gradient that is no more than
--- rounding moves it as far as any other, and two runs on one CPU whose lr differed by 2e-7 were 2.5e-3 apart at step
--- 242. With this eps they are 6e-6 apart, so what is left to see is what a device does.
return {
  method = 'icot',
  dataset = { task = 'multiplication', digits = 3, train = 20000, valid = 200, test = 200 },
  model = { layers = 2, heads = 4, width = 128, dropout = 0.1 },
  schedule = { kind = 'linear', steps_per_token = 10 },
  removal = { side = 'left', smoothing = 4 },
  optimizer = { lr = 3e-4, eps = 1e-6, clip = 1.0, reset = 'all' },
  train = { batch = 32, steps = 300, log_every = 1, evaluate_every = 300 },
  evaluate = { examples = 200 },
  checkpoint = { every_steps = 50 },
}
