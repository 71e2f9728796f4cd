-- Implicit chain of thought by knowledge distillation (Deng et al. 2023), what came before Stepwise Internalization.
--
-- Each arm is a chain of four runs: a teacher that writes its CoT; a student that is given the teacher's states along
-- the CoT in place of it; an emulator that predicts these states from the question; at last, under the arm's own name,
-- the emulator and the student together, which have the question alone. Only the accuracies of the first and the last
-- are those of answering a question.
--
-- One state per layer is all that the student is told of the CoT, so depth matters more than width, and the more the
-- longer the CoT: GPT-2 Small, with twelve layers, came to 0.97 with 4 x 4 digits in the paper (46 CoT tokens), and to
-- 0.10 with 5 x 5. Hence models that are deep and narrow; a single core trains them in minutes.

return {
  method = 'icot_kd',
  seed = 1,

  -- a quarter of what is trained on has many zeros among its digits, as in mult_4x4.lua
  dataset = {
    task = 'multiplication', train = 300000, sparse = 100000, zeros = 0.4, valid = 1000, test = 1000,
  },

  model = { layers = 8, heads = 4, width = 64, initializer_range = 0.05 },

  precision = 'bf16', -- of matrix products, where the machine has it

  optimizer = { lr = 1e-3, clip = 1.0, warmup_steps = 100, decay = 'linear' },

  -- `train` is that of the last step
  train = { batch = 64, steps = 4000, log_every = 100, evaluate_every = 1000 },
  distillation = { teacher_steps = 2000, student_steps = 6000, emulator_steps = 3000 },

  arms = {
    { name = '3x3', dataset = { digits = 3 } },
    { name = '4x4', dataset = { digits = 4 } },
  },
}
