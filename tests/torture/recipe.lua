-- A run of a second or two that has everything a checkpoint must hold: a schedule with a state of its own, dropout,
-- random offsets, optimizer resets, many evaluations and stages, and hardly a step without something to write.
return {
  method = 'icot', seed = 5,
  dataset = { task = 'multiplication', digits = 2, train = 700, valid = 30, test = 30 },
  model = { layers = 2, heads = 2, width = 32, dropout = 0.1 },
  schedule = function(state)
    local own = state.own
    own.calls = (own.calls or 0) + 1
    own.losses = own.losses or {}
    own.losses[(own.calls - 1) % 5 + 1] = state.loss or 3
    local sum = 0
    for _, loss in ipairs(own.losses) do sum = sum + loss end
    own.removed = (own.removed or 0) + (own.calls > 40 and sum > 1 and 0.05 or 0)
    return own.removed
  end,
  removal = { positions = 'kept', smoothing = 0.7 },
  optimizer = { lr = 1e-3, warmup_steps = 10, rewarmup_steps = 5, decay = 'linear' },
  train = { batch = 16, steps = 300, log_every = 3, evaluate_every = 25 },
  evaluate = { examples = 20, batch = 10, samples = 2 },
  checkpoint = { every_steps = 4, keep = { last = 2, stages = 2 } },
}
