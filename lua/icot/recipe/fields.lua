--- Every field of a recipe: what it is, what it may be, and its default. The errors follow this file; what depends on
--- several fields at once is checked in icot.recipe.resolve.
---
--- `dataset` and `schedule` are open here: a dataset describes its own options, and so does each kind
--- of schedule (icot.schedule).
local methods = require 'icot.schedule.methods'

local fields = {}

local MOST = 2 ^ 31 - 1 -- of anything that is counted
local seed = { type = 'integer', min = 0, doc = 'initial parameters, order of examples, offsets, dropout' }

local model = {
  pretrained = { type = 'string', doc = 'folder of a GPT-2 to start from; it has its own layers, heads and width' },
  preset = { type = 'string', doc = "a size by name, such as 'small' (icot.gpt2.presets)" },
  layers = { type = 'integer', min = 1, max = 1000, doc = 'transformer blocks' },
  heads = { type = 'integer', min = 1, max = 1000, doc = 'attention heads per block' },
  width = { type = 'integer', min = 1, max = 100000, doc = 'size of the hidden states' },
  context = { type = 'integer', min = 1, max = 1000000, doc = 'most tokens; default: the longest example' },
  initializer_range = { type = 'number', above = 0, max = 10, default = 0.02, doc = 'std of initial weights' },
  dropout = { type = 'number', min = 0, below = 1, default = 0, doc = 'of embeddings, attention and residuals' },
}

local removal = {
  side = {
    type = { 'string', 'function' }, one_of = { 'left', 'right', 'both', 'random' }, default = 'left',
    doc = 'where CoT is removed from; or function(length) -> positions from 1 on, the first to go first',
  },
  unit = {
    type = 'string', one_of = { 'token', 'step' }, default = 'token',
    doc = 'what the schedule and the offsets count: CoT tokens, or the reasoning steps that the dataset marks',
  },
  order_seed = { type = 'integer', min = 0, doc = "of side = 'random'; default: the run's seed" },
  smoothing = {
    type = { 'number', 'list', 'function' }, above = 0, also = { false }, default = 4,
    each = { type = 'number', min = 0 },
    doc = 'λ of the random offset; weights of the offsets 0, 1, …; function(offset) -> weight; or false',
  },
  replay = { type = 'number', min = 0, max = 1, default = 0, doc = 'share of examples given an earlier stage' },
  smoothing_after = { type = 'integer', min = 0, max = MOST, default = 0, doc = 'updates before the first offset' },
  positions = { type = 'string', one_of = { 'closed_up', 'kept' }, default = 'closed_up', doc = 'after removal' },
  remove_all_beyond = { type = 'integer', min = 0, max = MOST, doc = 'removing this many or more removes all' },
  thoughts = {
    type = 'integer', min = 1, max = 1000,
    doc = "continuous thoughts of 'coconut' (default: 1), or leading pauses of 'pause', for each token or step removed",
  },
  most_thoughts = { type = 'integer', min = 1, max = 1000, doc = 'of an example, however much is removed' },
}

local optimizer = {
  lr = { type = 'number', above = 0, max = 10, default = 5e-5, doc = 'learning rate of AdamW' },
  beta1 = { type = 'number', min = 0, below = 1, default = 0.9, doc = 'decay of the first moment' },
  beta2 = { type = 'number', min = 0, below = 1, default = 0.999, doc = 'decay of the second moment' },
  eps = { type = 'number', min = 1e-30, default = 1e-8, doc = 'added to the denominator' },
  weight_decay = { type = 'number', min = 0, default = 0.01, doc = 'decoupled from the gradient' },
  clip = { type = 'number', above = 0, also = { false }, default = 1.0, doc = 'largest gradient norm; or false' },
  warmup_steps = { type = 'integer', min = 0, max = MOST, default = 0, doc = 'updates until lr is reached' },
  reset = {
    type = 'string', one_of = { 'all', 'first', 'second', 'decay', 'keep' }, default = 'all',
    doc = "of AdamW's moments when more CoT is removed",
  },
  reset_decay = { type = 'number', min = 0, max = 1, default = 0.1, doc = "what 'decay' multiplies both moments by" },
  rewarmup_steps = { type = 'integer', min = 0, max = MOST, default = 0, doc = 'warm-up after each reset' },
  decay = { type = 'string', one_of = { 'constant', 'linear', 'cosine' }, default = 'constant', doc = 'of lr' },
  decay_steps = { type = 'integer', min = 1, max = MOST, doc = 'the last updates, in which lr falls; default: all' },
  final_lr = { type = 'number', min = 0, max = 1, default = 0, doc = 'at its end, as a fraction' },
}

local stop_on_collapse = {
  below = { type = 'number', above = 0, max = 1, default = 0.05, doc = 'validation accuracy' },
  evaluations = { type = 'integer', min = 1, max = MOST, default = 3, doc = 'in a row that are below' },
}

local train = {
  batch = { type = 'integer', min = 1, max = MOST, default = 32, doc = 'examples per update' },
  accumulate = { -- not gradient_accumulation_steps: with Hugging Face the batch is a part, here it is the whole
    type = 'integer', min = 1, max = MOST, default = 1,
    doc = 'parts of a batch, computed one after the other, their gradients added up; takes less memory',
  },
  activation_checkpointing = {
    type = 'boolean', default = false,
    doc = 'blocks are computed again in backward instead of being kept; the same bits, less memory, more time',
  },
  steps = { type = 'integer', min = 1, max = MOST, doc = 'updates; either this or epochs, tokens, flops' },
  epochs = { type = 'integer', min = 1, max = MOST, doc = 'passes over the training examples' },
  tokens = { type = 'integer', min = 1, doc = 'in all batches together; ends with the update that reaches them' },
  flops = { type = 'number', above = 0, doc = 'as they are counted in /train; likewise' },
  log_every = { type = 'integer', min = 1, max = MOST, default = 100, doc = 'updates per row of /train' },
  evaluate_every = { type = 'integer', min = 1, max = MOST, also = { 'epoch' }, default = 'epoch', doc = 'updates' },
  stop_at_accuracy = { type = 'number', above = 0, max = 1, doc = 'end when the validation accuracy is there' },
  stop_on_collapse = {
    type = 'table', fields = stop_on_collapse, also = { false }, default = false,
    doc = 'end when the accuracy stays below after it was above, or after all CoT is gone',
  },
}

local distillation = { -- steps and lr of the last step, in which student and emulator are coupled, are train's
  teacher = { type = 'string', doc = 'folder of a model that writes its CoT; default: it is trained, as explicit_cot' },
  teacher_steps = { type = 'integer', min = 1, max = MOST, doc = 'updates; default: as long as train says' },
  student_steps = { type = 'integer', min = 1, max = MOST, doc = 'the same' },
  emulator_steps = { type = 'integer', min = 1, max = MOST, doc = 'the same' },
  teacher_lr = { type = 'number', above = 0, max = 10, doc = 'learning rate; default: optimizer.lr' },
  student_lr = { type = 'number', above = 0, max = 10, doc = 'the same' },
  emulator_lr = { type = 'number', above = 0, max = 10, doc = 'the same' },
  mixture = {
    type = 'integer', min = 1, max = 1e6, default = 1,
    doc = 'embeddings that the emulator chooses from at each layer; more where several CoTs lead to the same answer',
  },
  temperature = { type = 'number', above = 0, default = 0.05, doc = 'of the choice; the lower, the harder' },
}

local evaluate = {
  examples = { type = 'integer', min = 1, max = MOST, default = 1000, doc = 'of each split, at most' },
  batch = { type = 'integer', min = 1, max = MOST, default = 256, doc = 'examples decoded at once' },
  samples = { type = 'integer', min = 0, max = 1000, default = 5, doc = 'predictions kept in /samples each time' },
}

local keep = {
  last = { type = 'integer', min = 1, max = MOST, default = 2, doc = 'the newest ones' },
  stages = {
    type = 'integer', min = 0, max = MOST, also = { 'all' }, default = 4,
    doc = 'the newest stage ends; 0: none is written',
  },
  best = { type = 'boolean', default = true, doc = 'the most accurate with the most CoT removed' },
  moments = {
    type = 'boolean', default = false,
    doc = 'of stage ends, too, where the next update resets them: for a fork that does not',
  },
}

local checkpoint = {
  every_minutes = { type = 'number', above = 0, also = { false }, default = 10, doc = 'beside those of stage ends' },
  every_steps = { type = 'integer', min = 1, max = MOST, doc = 'updates, beside the others' },
  keep = { type = 'table', fields = keep, doc = 'which checkpoints stay' },
}

local divergence = {
  policy = { type = 'string', one_of = { 'stop', 'rollback', 'continue' }, default = 'stop', doc = 'what is done' },
  loss_above = { type = 'number', above = 0, also = { false }, doc = 'default: 10 times that of guessing; or false' },
  lr_scale = { type = 'number', above = 0, max = 1, default = 0.5, doc = 'of the learning rate after a rollback' },
  rollbacks = { type = 'integer', min = 1, max = MOST, default = 3, doc = 'before the run is given up' },
}

--- What describes one run; an arm of a study may override any of it but seed, output and name.
fields.run = {
  name = { type = 'string', doc = 'default: the name of the file, without .lua' },
  seed = { type = 'integer', min = 0, default = 42, doc = seed.doc },
  method = { type = 'string', one_of = methods.names, required = true, doc = 'what becomes of the CoT' },
  precision = {
    type = 'string', one_of = { 'float32', 'bf16', 'tf32' }, default = 'float32',
    doc = 'of matrix products; tf32 is for a card alone',
  },
  device = { type = 'string', one_of = { 'cpu', 'cuda' }, default = 'cpu', doc = 'where it is computed' },
  dataset = { type = 'table', required = true, doc = 'task = the name of a file in datasets/, and its options' },
  model = { type = 'table', fields = model, doc = 'pretrained, a preset, or layers, heads and width' },
  schedule = { type = { 'table', 'function' }, doc = 'kind and its options, or function(state) -> removed tokens' },
  removal = { type = 'table', fields = removal, doc = 'how the CoT is cut' },
  optimizer = { type = 'table', fields = optimizer, doc = 'AdamW' },
  distillation = { type = 'table', fields = distillation, doc = "the steps of the method 'icot_kd'" },
  train = { type = 'table', fields = train, doc = 'how long, and what is reported when' },
  evaluate = { type = 'table', fields = evaluate, doc = 'greedy decoding of unseen examples' },
  divergence = { type = 'table', fields = divergence, doc = 'a loss or gradients that are no numbers, or too high' },
  checkpoint = { type = 'table', fields = checkpoint, doc = 'when all that the run is gets saved' },
  fork_from = {
    type = 'string', also = { false },
    doc = 'a checkpoint of another run, where this one begins; {seed} in it is the seed of the run',
  },
  output = { type = 'string', doc = 'the run file, or the index of a study; default: results/NAME.h5' },
}

--- What makes a study of a recipe.
fields.study = {
  arms = { type = 'list', each = { type = 'table' }, doc = 'list of { name = …, fields that differ }' },
  seeds = { type = 'list', each = seed, doc = 'each arm is run with each of these' },
  grid = { type = 'table', doc = 'each arm is run with each combination of these values; an arm may have its own' },
  match = { type = 'string', one_of = { 'updates', 'tokens', 'flops' }, doc = 'all arms get as many as match_arm' },
  match_arm = { type = 'string', doc = 'the arm that the others are measured by, seed by seed' },
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

--- A table whose meaning hangs on one of its fields: another value there starts it anew.
fields.replaced_with = { dataset = 'task', schedule = 'kind' }

return fields
