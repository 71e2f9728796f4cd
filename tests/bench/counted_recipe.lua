--- The training whose instructions are counted; see tests/bench/count.
return {
  method = 'icot', seed = 1,
  dataset = { task = 'multiplication', digits = 3, train = 64, valid = 1, test = 1 },
  model = { layers = 2, heads = 4, width = 64 },
  schedule = { kind = 'linear', steps_per_token = 1 },
  optimizer = { lr = 1e-3 },
  train = { batch = 8, steps = 100 },
}
