-- 9 x 9 digits with GPT-2 Small: the experiment of Deng, Choi and Shieber (2024), with their schedule, smoothing,
-- resets, batch and learning rate.
--
-- Reported there: 0.99 of the held-out products right, with no intermediate tokens at all. Theirs starts from the
-- pretrained model and writes the problems in its tokens, as `--set model.pretrained=path/to/gpt2` does; here it is
-- random weights and a vocabulary of the task's own symbols. On a CPU this takes weeks; mult_4x4.lua is for trying
-- things out.

return {
  method = 'icot', -- Stepwise Internalization: train with all CoT, then remove it token by token

  dataset = { task = 'multiplication', digits = 9, train = 808000, valid = 1000, test = 1000 },

  model = { preset = 'small', dropout = 0.1 }, -- 12 layers, 12 heads, width 768; from random weights

  -- s(t) = floor(8·t/T): eight more tokens are removed in every epoch of T updates
  schedule = { kind = 'linear', tokens_per_epoch = 8 },

  removal = {
    side = 'left',            -- the first CoT tokens go first
    smoothing = 4,            -- λ: with probability 0.018 an example loses one token more, or several
    positions = 'closed_up',  -- position ids count on without a gap
  },

  optimizer = { lr = 5e-5, weight_decay = 0.01, clip = 1.0, reset = 'all' }, -- moments reset at each removal

  train = { batch = 32, epochs = 200, log_every = 10, evaluate_every = 'epoch' },
}
