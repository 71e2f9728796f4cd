--- What stands in a run file, in a study's index, and in what `icot frontier` and `icot probe` write: the one place
--- that knows their tables and columns.
---
--- A column is { name, kind, width }. Kinds: `integer` (int64), `number` (float64), `flag` (bool), `text` (UTF-8,
--- cut after `width` bytes). Raise `version` whenever a reader of older files would go wrong.
local format = { version = 1 }

--- One row per logging interval; the numbers are of the interval that ends at `step` unless they say otherwise.
format.train = {
  { 'step', 'integer' }, -- updates so far
  { 'epoch', 'number' }, -- passes over the training examples so far
  { 'removed', 'integer' }, -- s: CoT tokens, or steps, that the schedule removes
  { 'loss', 'number' }, -- mean over target tokens, nats
  { 'token_accuracy', 'number' }, -- share of target tokens that were the most probable
  { 'grad_norm', 'number' }, -- before clipping
  { 'lr', 'number' },
  { 'tokens', 'integer' }, -- trained on so far
  { 'seconds', 'number' }, -- since training began
  { 'flops', 'number' }, -- so far
  { 'optimizer_reset', 'flag' }, -- the moments were reset in this interval
}

--- One row per evaluation of a split.
format.eval = {
  { 'step', 'integer' },
  { 'epoch', 'number' },
  { 'removed', 'integer' },
  { 'split', 'text', 16 },
  { 'accuracy', 'number' }, -- share of examples whose decoded answer is exactly right
  { 'token_accuracy', 'number' }, -- share of target tokens, with those of the CoT left, that are hit
  { 'loss', 'number' }, -- teacher-forced, mean over target tokens, nats
  { 'examples_per_second', 'number' }, -- while decoding
  { 'tokens_generated', 'integer' }, -- by the model, for all examples together
  { 'examples', 'integer' }, -- that were decoded
}

--- Rows for each evaluation of a dataset that tells its examples apart (icot.Dataset: groups), one per group.
format.eval_groups = {
  { 'step', 'integer' },
  { 'split', 'text', 16 },
  { 'group', 'text', 32 },
  { 'examples', 'integer' }, -- of the group
  { 'accuracy', 'number' }, -- share of them whose decoded answer is exactly right
}

--- Some examples of each evaluation.
---@param width integer bytes kept of each text
function format.samples(width)
  return {
    { 'step', 'integer' },
    { 'split', 'text', 16 },
    { 'question', 'text', width },
    { 'target', 'text', width },
    { 'prediction', 'text', width },
    { 'cot', 'text', width }, -- what the model wrote before the answer; without thoughts and pauses
  }
end

--- One row each time that more CoT is removed, or the training goes back to an earlier stage.
format.events = {
  { 'step', 'integer' }, -- updates so far
  { 'event', 'text', 16 }, -- 'removal', 'rollback'
  { 'removed', 'integer' }, -- from now on
  { 'detail', 'text', 128 }, -- of a removal, what became of AdamW's moments: 'reset all', 'reset keep', …
}

--- One row per stretch in which the run went on without a stop.
format.segments = {
  { 'step', 'integer' }, -- updates when it began: the step of the checkpoint that it continues from
  { 'start_time', 'text', 20 },
  { 'stopped_by', 'text', 16 }, -- the one before: its end_state, 'diverged', 'broken off' (killed, failed), or 'forked'
  { 'stopped_time', 'text', 20 }, -- when
  { 'changes', 'text', 512 }, -- fields of the recipe that are not as they were before
  { 'host', 'text', 64 },
  { 'threads', 'integer' },
}

--- One row per run of a study.
format.summary = {
  { 'arm', 'text', 128 },
  { 'seed', 'integer' },
  { 'method', 'text', 16 },
  { 'removed', 'integer' }, -- at the end
  { 'accuracy', 'number' }, -- final, on held-out examples
  { 'updates', 'integer' },
  { 'tokens', 'integer' },
  { 'flops', 'number' },
  { 'seconds', 'number' },
  { 'status', 'text', 16 }, -- end_state of the run
  { 'explicit_accuracy', 'number' }, -- with all CoT, just before the first removal; NaN: nothing was removed
  { 'collapsed', 'flag' }, -- it lost what it had learned: icot.study.arm_summary
}

--- One row per arm of a study: its runs over the seeds. Means are of the runs that have ended by themselves.
format.arms = {
  { 'arm', 'text', 128 },
  { 'runs', 'integer' }, -- one per seed
  { 'finished', 'integer' }, -- that ended by themselves
  { 'accuracy_mean', 'number' },
  { 'accuracy_low', 'number' }, -- 95 % interval of the mean; NaN: fewer than two runs
  { 'accuracy_high', 'number' },
  { 'collapsed', 'integer' }, -- runs
  { 'collapse_rate', 'number' }, -- share of the runs that had something to lose; NaN: none had
  { 'updates_mean', 'number' },
  { 'tokens_mean', 'number' },
  { 'flops_mean', 'number' },
  { 'seconds_mean', 'number' },
}

--- One row per stage end of a run; of a file of its own (`icot frontier`).
format.frontier = {
  { 'step', 'integer' },
  { 'removed', 'integer' }, -- CoT tokens, or steps
  { 'cot_left', 'integer' }, -- the same, of the longest CoT
  { 'accuracy', 'number' }, -- on test examples, 256 at a time
  { 'tokens_per_example', 'number' }, -- generated, with separators
  { 'milliseconds_batch', 'number' }, -- per example, 256 at a time
  { 'milliseconds_single', 'number' }, -- per example, one at a time
  { 'on_frontier_tokens', 'flag' }, -- no other row is as accurate with fewer tokens
  { 'on_frontier_time', 'flag' }, -- the same for milliseconds_single
  { 'chosen', 'flag' }, -- the most internalized within 0.01 of the accuracy with all CoT
  { 'checkpoint', 'text', 256 }, -- path
}

--- One row per linear probe; of a file of its own (`icot probe`). An icot.ProbeRow.
format.probes = {
  { 'step', 'integer' }, -- updates; of the control untrained those of the stage whose sequences it is shown
  { 'removed', 'integer' }, -- CoT tokens, or steps
  { 'control', 'text', 16 }, -- 'none': the trained model; 'untrained', 'no_cot', 'shuffled'
  { 'layer', 'integer' }, -- 0: the embeddings; k: what comes out of block k
  { 'position', 'integer' }, -- in the sequence, from 0; where lengths are mixed, in that of the first example
  { 'place', 'text', 32 }, -- what stands there: 'question 1', 'CoT 5' (before the cut), '####', 'answer 2', …
  { 'quantity', 'text', 64 }, -- what is to be told
  { 'accuracy', 'number' }, -- on held-out examples
  { 'baseline', 'number' }, -- of always saying what is most frequent
  { 'examples', 'integer' }, -- held out
  { 'examples_fit', 'integer' }, -- that the probe was fitted to
}

--- What the rows of the matrix /attention are: one per stage, example, layer, head and query. Its columns are the keys
--- of the same sequence, from 0 on; NaN behind its end.
format.attention_rows = {
  { 'step', 'integer' },
  { 'removed', 'integer' },
  { 'example', 'integer' }, -- of the test split, from 1 on
  { 'layer', 'integer' }, -- the block, from 1 on
  { 'head', 'integer' }, -- from 1 on
  { 'query', 'integer' }, -- position in the sequence, from 0
  { 'token', 'text', 32 }, -- that stands there
}

return format
