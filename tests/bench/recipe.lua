-- The training whose updates are measured: 4 x 4 digits, which have 16 symbols and sequences of up to 67 tokens, unless
-- work.lua says otherwise. What is removed is told from outside, and so is the model.
return {
  method = 'icot', seed = 1,
  dataset = { task = 'multiplication', digits = 4, train = 128, valid = 0, test = 0 },
  model = { dropout = 0 },
  schedule = { kind = 'linear', steps_per_token = 1 },
  optimizer = { lr = 5e-5, clip = 1.0, reset = 'keep' },
  train = { batch = 32, steps = 4 },
}
