-- A run of a second that uses what a bundle brings along: OpenBLAS, HDF5, JSON.
return {
  method = 'icot', precision = 'bf16', seed = 3,
  dataset = { task = 'multiplication', digits = 2, train = 400, valid = 40, test = 40 },
  model = { layers = 2, heads = 2, width = 32 },
  schedule = { kind = 'linear', steps_per_token = 5 },
  train = { batch = 16, steps = 60, log_every = 10, evaluate_every = 30 },
  evaluate = { examples = 20, batch = 20 },
  checkpoint = { every_steps = 20, keep = { last = 1, stages = 'all' } },
}
