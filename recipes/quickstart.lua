-- The idea in some minutes: 3 x 3 digits, three ways of training.
--
--   no_cot        is never shown how a product is worked out; as many updates as icot
--   explicit_cot  writes all partial products and sums before the answer, and needs few updates
--   icot          starts like explicit_cot, then unlearns to write, token by token, and keeps what it can
--
-- All three are trained on the same problems and tested on the same 1,000 others.

return {
  method = 'icot',
  seed = 1,

  -- A quarter of what is trained on has many zeros among its digits (`sparse`): of a sum of several products modulo ten
  -- nothing can be learned before all of them are known, so some sums are easy. Valid and test have none of these. With
  -- half of them no_cot begins to learn the third digit, too.
  dataset = {
    task = 'multiplication', digits = 3, train = 300000, sparse = 100000, zeros = 0.4, valid = 1000, test = 1000,
  },

  model = { layers = 2, heads = 8, width = 256, initializer_range = 0.05 },

  -- of matrix products, where the machine has it: twice as fast here
  precision = 'bf16',

  -- Slow from 7 to 12 of the 24 CoT tokens: there the model still writes the sum of the first two partial products, but
  -- has to work them out in its hidden states. Once it writes that sum without them, it can do without the rest, too.
  schedule = { kind = 'points', points = { { 1000, 0 }, { 1300, 7 }, { 4500, 12 }, { 6000, 24 } } },

  removal = {
    side = 'left',
    -- a small λ: offsets of 9 tokens on average, so that every stage is practised from the first update on
    smoothing = 0.1,
    smoothing_after = 300, -- but not before the CoT is written at all
    -- every token keeps its position, so that nothing learned about positions is lost at a removal
    positions = 'kept',
  },

  -- moments are forgotten whenever another token goes, and the learning rate rises anew in 20 updates
  optimizer = {
    lr = 1e-3, clip = 1.0, warmup_steps = 100, reset = 'all', rewarmup_steps = 20, decay = 'linear', decay_steps = 5000,
  },

  train = { batch = 64, steps = 14000, log_every = 100, evaluate_every = 1000 },

  arms = {
    { name = 'no_cot', method = 'no_cot' },
    { name = 'explicit_cot', method = 'explicit_cot', train = { steps = 1000 }, removal = { smoothing = false } },
    { name = 'icot' },
  },
}
