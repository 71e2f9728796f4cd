-- The idea in minutes: 3 x 2 digits, three ways of training.
--
--   no_cot        is never shown how a product is worked out; as many updates as icot
--   explicit_cot  writes both partial products before the answer, and needs few updates
--   icot          starts like explicit_cot, then unlearns to write, token by token, and keeps what it can
--
-- All three are trained on the same problems and tested on the same 1,000 others.

return {
  method = 'icot',
  seed = 1,

  dataset = { task = 'multiplication', digits = { 3, 2 }, train = 78000, valid = 1000, test = 1000 },

  model = { layers = 2, heads = 4, width = 128, initializer_range = 0.05 },

  -- of matrix products, where the machine has it
  precision = 'bf16',

  -- all CoT until update 700, then 10 tokens in 2,800 updates; what is left of them is for recovering from that
  schedule = { kind = 'points', points = { { 700, 0 }, { 3500, 10 } } },

  removal = {
    side = 'left',
    -- a small λ: offsets of 4.5 tokens on average, so that every stage is practised from early on
    smoothing = 0.2,
    smoothing_after = 300, -- but not before the CoT is written at all
    -- every token keeps its position, so that nothing learned about positions is lost at a removal
    positions = 'kept',
  },

  -- moments are forgotten whenever another token goes, and the learning rate rises anew in 20 updates
  optimizer = {
    lr = 1e-3, clip = 1.0, warmup_steps = 100, reset = 'all', rewarmup_steps = 20, decay = 'linear', decay_steps = 3000,
  },

  train = { batch = 64, steps = 6000, log_every = 100, evaluate_every = 500 },

  arms = {
    { name = 'no_cot', method = 'no_cot' },
    { name = 'explicit_cot', method = 'explicit_cot', train = { steps = 2000 } },
    { name = 'icot' },
  },
}
