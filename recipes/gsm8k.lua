-- The paper's experiment on GSM8K: GPT-2 Small learns to answer word problems at once.
--
-- What it needs beside icot (both to be had where the paper's code is, and from Hugging Face):
--   gsm8k/    train.txt, valid.txt, test.txt: 385,620 + 500 + 1,319 lines `question||<<16-3-4=9>> … #### 18`
--   gpt2/     config.json, model.safetensors, vocab.json and merges.txt of the pretrained model
--
-- `icot data check gsm8k/train.txt --task gsm8k` looks through a file. Many days on a CPU; to see it start:
--   icot recipes/gsm8k.lua --set train.steps=20 --set evaluate.examples=16

return {
  method = 'icot',
  seed = 42,

  dataset = {
    task = 'gsm8k', train = 'gsm8k/train.txt', valid = 'gsm8k/valid.txt', test = 'gsm8k/test.txt',
    -- tokens with all CoT; longer training examples are left out (the paper's code leaves out whole batches, those that
    -- are too long after the removal)
    max_length = 150,
  },

  model = { pretrained = 'gpt2', dropout = 0.1 }, -- its tokenizer is the dataset's, too

  schedule = { kind = 'linear', tokens_per_epoch = 1 },

  removal = {
    side = 'left',
    smoothing = 4,
    positions = 'closed_up',
    remove_all_beyond = 39, -- CoTs vary in length: from here on all of them go
  },

  optimizer = { lr = 5e-5, weight_decay = 0.01, clip = 1.0, reset = 'all' },

  train = { batch = 32, epochs = 200, log_every = 100, evaluate_every = 'epoch' },
}
