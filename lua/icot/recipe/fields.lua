--- Every field of a recipe: what it is, what it may be, and its default. The errors follow this file; what depends on
--- several fields at once is checked in icot.recipe.resolve.
---
--- `dataset` and `schedule` are open here: a dataset describes its own options, and so does each kind
--- of schedule (icot.schedule).
local methods = require 'icot.schedule.methods'

local fields = {}

local MOST = 2 ^ 31 - 1 -- of anything that is counted
local seed = { type = 'integer', min = 0, doc = 'seed of initial parameters, order of examples, offsets and dropout' }

local model = {
  pretrained = { type = 'string', doc = 'folder of a GPT-2 to start from, with its layers, heads and width' },
  preset = { type = 'string', doc = "name of a size, such as 'small' (icot.gpt2.presets)" },
  layers = { type = 'integer', min = 1, max = 1000, doc = 'number of transformer blocks' },
  heads = { type = 'integer', min = 1, max = 1000, doc = 'number of attention heads per block' },
  width = { type = 'integer', min = 1, max = 100000, doc = 'size of the hidden states' },
  context = {
    type = 'integer', min = 1, max = 1000000,
    doc = 'most tokens of a sequence; default: as many as the longest example has',
  },
  initializer_range = {
    type = 'number', above = 0, max = 10, default = 0.02,
    doc = 'standard deviation of the initial weights',
  },
  dropout = {
    type = 'number', min = 0, below = 1, default = 0,
    doc = 'dropout of embeddings, attention and residuals',
  },
}

local removal = {
  side = {
    type = { 'string', 'function' }, one_of = { 'left', 'right', 'both', 'random' }, default = 'left',
    doc = 'end of the CoT that goes first; or function(length) -> its positions, from 1, in the order of removal',
  },
  unit = {
    type = 'string', one_of = { 'token', 'step' }, default = 'token',
    doc = 'what the schedule and the offsets count: CoT tokens, or the reasoning steps that the dataset marks',
  },
  order_seed = { type = 'integer', min = 0, doc = "seed of the order when side = 'random'; default: the run's seed" },
  smoothing = {
    type = { 'number', 'list', 'function' }, above = 0, also = { false }, default = 4,
    each = { type = 'number', min = 0 },
    doc = 'λ of the random offset; a list of weights of offsets 0, 1, …; function(offset) -> weight; false: no offset',
  },
  replay = {
    type = 'number', min = 0, max = 1, default = 0,
    doc = 'share of the examples in a batch that lose fewer than s, any smaller number alike',
  },
  smoothing_after = {
    type = 'integer', min = 0, max = MOST, default = 0,
    doc = 'number of updates before any example gets an offset',
  },
  positions = {
    type = 'string', one_of = { 'closed_up', 'kept' }, default = 'closed_up',
    doc = "positions of what follows the removed tokens: without a gap, or each as before removal ('kept')",
  },
  remove_all_beyond = {
    type = 'integer', min = 0, max = MOST,
    doc = 'an example that is to lose this many or more loses all of its CoT',
  },
  thoughts = {
    type = 'integer', min = 1, max = 1000,
    doc = "thoughts (with 'coconut', default: 1) or leading pauses (with 'pause') for each removed token or step",
  },
  most_thoughts = {
    type = 'integer', min = 1, max = 1000,
    doc = 'most thoughts that an example has, however much of its CoT is removed',
  },
}

local optimizer = {
  lr = { type = 'number', above = 0, max = 10, default = 5e-5, doc = 'learning rate of AdamW' },
  beta1 = { type = 'number', min = 0, below = 1, default = 0.9, doc = 'decay rate of the first moment' },
  beta2 = { type = 'number', min = 0, below = 1, default = 0.999, doc = 'decay rate of the second moment' },
  eps = { type = 'number', min = 1e-30, default = 1e-8, doc = 'added to the denominator of the AdamW update' },
  weight_decay = { type = 'number', min = 0, default = 0.01, doc = 'weight decay, decoupled from the gradient' },
  clip = {
    type = 'number', above = 0, also = { false }, default = 1.0,
    doc = 'gradient norm above which gradients are scaled down to it; false: no clipping',
  },
  warmup_steps = {
    type = 'integer', min = 0, max = MOST, default = 0,
    doc = 'number of first updates in which the learning rate rises to lr',
  },
  reset = {
    type = 'string', one_of = { 'all', 'first', 'second', 'decay', 'keep' }, default = 'all',
    doc = "which of AdamW's moments are set to zero ('decay': multiplied) whenever more CoT is removed",
  },
  reset_decay = {
    type = 'number', min = 0, max = 1, default = 0.1,
    doc = "factor on both moments when reset = 'decay'",
  },
  rewarmup_steps = {
    type = 'integer', min = 0, max = MOST, default = 0,
    doc = 'number of updates in which the learning rate rises again after a reset',
  },
  decay = {
    type = 'string', one_of = { 'constant', 'linear', 'cosine' }, default = 'constant',
    doc = 'how the learning rate falls towards the end',
  },
  decay_steps = {
    type = 'integer', min = 1, max = MOST,
    doc = 'number of last updates in which the learning rate falls; default: all',
  },
  final_lr = { type = 'number', min = 0, max = 1, default = 0, doc = 'learning rate at the end, as a fraction of lr' },
}

local stop_on_collapse = {
  below = {
    type = 'number', above = 0, max = 1, default = 0.05,
    doc = 'validation accuracy below which an evaluation counts',
  },
  evaluations = {
    type = 'integer', min = 1, max = MOST, default = 3,
    doc = 'number of such evaluations in a row that ends the run',
  },
}

local train = {
  batch = { type = 'integer', min = 1, max = MOST, default = 32, doc = 'number of examples per update' },
  accumulate = { -- not gradient_accumulation_steps: with Hugging Face the batch is a part, here it is the whole
    type = 'integer', min = 1, max = MOST, default = 1,
    doc = 'number of parts that a batch is computed in, their gradients added up; more parts need less memory',
  },
  activation_checkpointing = {
    type = 'boolean', default = false,
    doc = 'compute blocks again in the backward pass instead of keeping them: same bits, less memory, more time',
  },
  steps = {
    type = 'integer', min = 1, max = MOST,
    doc = 'length of the training in updates (give one of steps, epochs, tokens, flops)',
  },
  epochs = {
    type = 'integer', min = 1, max = MOST,
    doc = 'length of the training in passes over the training examples',
  },
  tokens = {
    type = 'integer', min = 1,
    doc = 'length of the training in tokens; it ends with the update that reaches them',
  },
  flops = {
    type = 'number', above = 0,
    doc = 'length of the training in FLOPs, as counted in /train; it ends with the update that reaches them',
  },
  log_every = { type = 'integer', min = 1, max = MOST, default = 100, doc = 'number of updates per row of /train' },
  evaluate_every = {
    type = 'integer', min = 1, max = MOST, also = { 'epoch' }, default = 'epoch',
    doc = 'number of updates from one evaluation of the validation examples to the next',
  },
  stop_at_accuracy = {
    type = 'number', above = 0, max = 1,
    doc = 'validation accuracy that ends the run (with a schedule, once all CoT is removed)',
  },
  stop_on_collapse = {
    type = 'table', fields = stop_on_collapse, also = { false }, default = false,
    doc = 'end the run when its validation accuracy stays low after it was higher, or after all CoT is gone',
  },
}

local distillation = { -- steps and lr of the last step, in which student and emulator are coupled, are train's
  teacher = {
    type = 'string',
    doc = 'folder of a trained model that writes its CoT; default: a teacher is trained, as with explicit_cot',
  },
  teacher_steps = {
    type = 'integer', min = 1, max = MOST,
    doc = 'number of updates of the teacher; default: as train says',
  },
  student_steps = {
    type = 'integer', min = 1, max = MOST,
    doc = 'number of updates of the student; default: as train says',
  },
  emulator_steps = {
    type = 'integer', min = 1, max = MOST,
    doc = 'number of updates of the emulator; default: as train says',
  },
  teacher_lr = { type = 'number', above = 0, max = 10, doc = 'learning rate of the teacher; default: optimizer.lr' },
  student_lr = { type = 'number', above = 0, max = 10, doc = 'learning rate of the student; default: optimizer.lr' },
  emulator_lr = { type = 'number', above = 0, max = 10, doc = 'learning rate of the emulator; default: optimizer.lr' },
  mixture = {
    type = 'integer', min = 1, max = 1e6, default = 1,
    doc = 'number of embeddings the emulator chooses from per layer; more than 1 where several CoTs are right',
  },
  temperature = {
    type = 'number', above = 0, default = 0.05,
    doc = "temperature of the emulator's choice among them; the lower, the harder",
  },
}

local evaluate = {
  examples = {
    type = 'integer', min = 1, max = MOST, default = 1000,
    doc = 'at most this many examples of each split',
  },
  batch = { type = 'integer', min = 1, max = MOST, default = 256, doc = 'number of examples decoded at once' },
  samples = {
    type = 'integer', min = 0, max = 1000, default = 5,
    doc = 'number of predictions kept in /samples per evaluation',
  },
}

local keep = {
  last = { type = 'integer', min = 1, max = MOST, default = 2, doc = 'how many of the newest checkpoints are kept' },
  stages = {
    type = 'integer', min = 0, max = MOST, also = { 'all' }, default = 4,
    doc = 'how many of the newest stage ends are kept; 0: none is written',
  },
  best = { type = 'boolean', default = true, doc = 'keep the most accurate of those with the most CoT removed' },
  moments = {
    type = 'boolean', default = false,
    doc = 'save the moments at stage ends even if the next update resets them, for forks that do not reset',
  },
}

local checkpoint = {
  every_minutes = {
    type = 'number', above = 0, also = { false }, default = 10,
    doc = 'minutes from one checkpoint to the next; false: only stage ends and every_steps',
  },
  every_steps = {
    type = 'integer', min = 1, max = MOST,
    doc = 'number of updates from one checkpoint to the next, in addition to the others',
  },
  keep = { type = 'table', fields = keep, doc = 'which checkpoints are kept' },
}

local divergence = {
  policy = {
    type = 'string', one_of = { 'stop', 'rollback', 'continue' }, default = 'stop',
    doc = 'stop the run, roll back to the last checkpoint with a lower learning rate, or skip the update',
  },
  loss_above = {
    type = 'number', above = 0, also = { false },
    doc = 'loss that counts as divergence; default: 10 times that of guessing; false: none',
  },
  lr_scale = {
    type = 'number', above = 0, max = 1, default = 0.5,
    doc = 'factor on the learning rate after each rollback',
  },
  rollbacks = { type = 'integer', min = 1, max = MOST, default = 3, doc = 'number of rollbacks before the run fails' },
}

--- What describes one run; an arm of a study may override any of it but seed, output and name.
fields.run = {
  name = { type = 'string', doc = 'name of the experiment; default: the name of the file, without .lua' },
  seed = { type = 'integer', min = 0, default = 42, doc = seed.doc },
  method = { type = 'string', one_of = methods.names, required = true, doc = 'what is done with the CoT' },
  precision = {
    type = 'string', one_of = { 'float32', 'bf16', 'tf32' }, default = 'float32',
    doc = 'precision of matrix products; tf32 only on a GPU',
  },
  device = { type = 'string', one_of = { 'cpu', 'cuda' }, default = 'cpu', doc = 'device that computes' },
  dataset = {
    type = 'table', required = true,
    doc = 'task = name of a file in datasets/, and the options of that task',
  },
  model = { type = 'table', fields = model, doc = 'either pretrained, a preset, or layers, heads and width' },
  schedule = {
    type = { 'table', 'function' },
    doc = 'a kind and its options, or function(state) -> number of removed tokens',
  },
  removal = { type = 'table', fields = removal, doc = 'how the CoT is cut' },
  optimizer = {
    type = 'table', fields = optimizer,
    doc = 'AdamW, and what becomes of its moments when CoT is removed',
  },
  distillation = { type = 'table', fields = distillation, doc = "the networks and steps of the method 'icot_kd'" },
  train = { type = 'table', fields = train, doc = 'how long to train, and what is reported when' },
  evaluate = { type = 'table', fields = evaluate, doc = 'how unseen examples are decoded (greedily) and compared' },
  divergence = {
    type = 'table', fields = divergence,
    doc = 'what to do about a loss or gradients that are not finite, or a loss that is too high',
  },
  checkpoint = {
    type = 'table', fields = checkpoint,
    doc = 'when the whole state of the run is saved, and how long it is kept',
  },
  fork_from = {
    type = 'string', also = { false },
    doc = 'checkpoint of another run from which this one starts; {seed} in it is the seed of the run',
  },
  output = { type = 'string', doc = 'path of the run file, or of the index of a study; default: results/NAME.h5' },
}

--- What makes a study of a recipe.
fields.study = {
  arms = {
    type = 'list', each = { type = 'table' },
    doc = 'list of { name = …, fields that differ from the rest of the recipe }',
  },
  seeds = { type = 'list', each = seed, doc = 'list of seeds; each arm is run with each of them' },
  grid = {
    type = 'table',
    doc = 'lists of values, of which each arm is run with each combination; an arm may have its own grid',
  },
  match = {
    type = 'string', one_of = { 'updates', 'tokens', 'flops' },
    doc = 'what all arms get as much of as match_arm used',
  },
  match_arm = { type = 'string', doc = 'arm whose use the others match, seed by seed' },
  collapse_below = {
    type = 'number', above = 0, max = 1, default = 0.5,
    doc = 'a run whose final accuracy is below this share of its explicit accuracy counts as collapsed',
  },
}

--- All that a recipe may have at its top.
fields.recipe = {}
for _, part in ipairs { fields.run, fields.study } do
  for name, field in pairs(part) do fields.recipe[name] = field end
end

--- Fields that exclude each other: setting one on top of a recipe takes the other away. Those that are
--- `required` need one of the two, where a kind of schedule has them.
fields.alternatives = {
  [''] = { { 'seed', 'seeds' } },
  train = {
    { 'steps', 'epochs' }, { 'steps', 'tokens' }, { 'steps', 'flops' },
    { 'epochs', 'tokens' }, { 'epochs', 'flops' }, { 'tokens', 'flops' },
  },
  model = {
    { 'pretrained', 'preset' }, { 'pretrained', 'layers' }, { 'pretrained', 'heads' }, { 'pretrained', 'width' },
    { 'preset', 'layers' }, { 'preset', 'heads' }, { 'preset', 'width' },
  },
  distillation = { { 'teacher', 'teacher_steps' }, { 'teacher', 'teacher_lr' } },
  schedule = {
    { 'tokens_per_epoch', 'steps_per_token', required = true },
    { 'duration_steps', 'duration_epochs', required = true },
    { 'steps_per_stage', 'epochs_per_stage', required = true },
    { 'explicit_steps', 'explicit_epochs' },
  },
}

--- A table whose meaning depends on one of its fields: another value there starts it anew.
fields.replaced_with = { dataset = 'task', schedule = 'kind' }

return fields
