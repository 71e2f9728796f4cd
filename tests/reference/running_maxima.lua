-- The training that is compared with PyTorch's, step by step: so small that 300 updates take a fraction of a second,
-- but with all that the method has. Batches are ragged and the last of an epoch is smaller, offsets are frequent
-- (λ = 1), everything is removed after two thirds, and the moments are reset each time more is removed until then.
local files = 'tests/fixtures/reference/'

return {
  method = 'icot', seed = 11,
  dataset = {
    task = 'text', train = files .. 'maxima.txt', valid = files .. 'maxima_unseen.txt',
    test = files .. 'maxima_unseen.txt',
  },
  model = { pretrained = files .. 'tiny/model' },
  schedule = { kind = 'linear', tokens_per_epoch = 3 }, -- one more every 25 updates; a CoT has at most 8 tokens
  optimizer = { lr = 1e-3 },
  train = { batch = 8, steps = 300, evaluate_every = 1000 },
  evaluate = { examples = 60 },
  output = 'build/reference/running_maxima.h5',
  arms = {
    { name = 'left_closed_up', removal = { side = 'left', positions = 'closed_up', smoothing = 1 } },
    { name = 'left_kept', removal = { side = 'left', positions = 'kept', smoothing = 1 } },
    {
      name = 'right_closed_up',
      removal = { side = 'right', positions = 'closed_up', smoothing = 1, remove_all_beyond = 6 },
    },
    { name = 'right_kept', removal = { side = 'right', positions = 'kept', smoothing = 1 } },
    { -- with five passes in a row rounding grows faster; at 1e-3 it comes to 3e-4 of the loss
      name = 'thoughts', method = 'coconut', removal = { smoothing = 1, thoughts = 2, most_thoughts = 5 },
      optimizer = { lr = 3e-4 },
    },
  },
}
