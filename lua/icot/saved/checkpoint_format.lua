--- What checkpoint.json says, so that one that is damaged is told from one that a run can continue from.
local fields = require 'icot.recipe.fields'
local json = require 'icot.base.json'
local options = require 'icot.base.options'

local checkpoint_format = {}

--- Bytes that checkpoint.json may have, and the text of a recipe.
checkpoint_format.MOST_BYTES = 64 * 2 ^ 20

local count = { type = 'integer', min = 0, required = true }
local amount = { type = 'number', min = 0, required = true }
local number = { type = 'number', required = true }
local text = { type = 'string', required = true }
local some_count, some_number = { type = 'integer', min = 0 }, { type = 'number' }
local accuracy = { type = 'number', also = { json.null } } -- null: there were no examples to measure it on

local interval = {
  updates = count, loss = number, targets = count,
  hits = { type = 'integer', min = 0, also = { json.null }, required = true }, -- null: no tokens are predicted
  grad_norm = amount, lr = some_number, optimizer_reset = { type = 'boolean', required = true },
}

local state = { -- icot.training.saved_state
  step = count, removed = { type = 'number', min = 0, also = { 'all' }, required = true },
  max_cot = some_count, -- not there in older ones
  planned = { type = 'number', min = 0, also = { 'all' } }, accuracy = accuracy, loss = some_number,
  valid_loss = some_number, optimizer_updates_sq = some_count, -- not there in older ones
  own_before = { type = 'table' }, -- not there in older ones
  explicit_accuracy = accuracy, test_accuracy = accuracy,
  own = { type = 'table', required = true }, cot_was_left = { type = 'boolean' },
  last_reset = some_count, evaluated = { type = 'table', fields = { valid = some_count, test = some_count } },
  collapse = { type = 'table', fields = { was_above = { type = 'boolean' }, count = some_count } },
  optimizer_updates = count, lr_scale = { type = 'number', above = 0, required = true }, skipped = count,
  meter = { type = 'table', fields = {
    tokens = count, flops = amount, seconds = amount, current = { type = 'table', fields = interval },
  } },
}

-- Of the configuration only what is taken from here; the rest is compared with the recipe. A side may be a function,
-- of which the place is told.
local removal = {
  side = text, positions = fields.run.removal.fields.positions, order_seed = some_count,
  unit = { type = 'string' }, -- not there in older ones
  remove_all_beyond = fields.run.removal.fields.remove_all_beyond,
}
local distillation = {
  step = { type = 'string', one_of = { 'student', 'emulator', 'coupled' } },
  mixture = fields.run.distillation.fields.mixture, temperature = fields.run.distillation.fields.temperature,
  from = { type = 'table', fields = { teacher = { type = 'string' }, networks = { type = 'string' } } },
}
local config = {
  dataset = { type = 'table', required = true }, removal = { type = 'table', fields = removal },
  evaluate = fields.run.evaluate, distillation = { type = 'table', fields = distillation },
}

--- What a recipe was started with, beside its text.
---@type icot.Field
checkpoint_format.invocation = { type = 'table', fields = {
  settings = { type = 'list', each = { type = 'string' }, required = true }, seed = some_count,
} }

local always = {
  state = { type = 'table', fields = state }, config = { type = 'table', fields = config },
  data = text, recipe_path = text, time = text, stopped_by = { type = 'string' },
  moments = { type = 'boolean' }, -- whether it has some; not there in older ones
  trained_on = { type = 'list', each = { type = 'table' } }, -- other examples, before; see icot.training.seen_before
  invocation = checkpoint_format.invocation,
  kept_for = { type = 'table', fields = { stage = { type = 'boolean' }, best = { type = 'boolean' } } },
  machine = { type = 'table', fields = {
    host = text, threads = count, device = { type = 'string' },
    versions = { type = 'table', fields = { cpu_kernels = text, openblas = text, icot = text } },
  } },
}

local sometimes = {
  best = { removed = count, accuracy = { type = 'number', also = { json.null }, required = true } },
  result = {
    status = text, accuracy = accuracy, explicit_accuracy = accuracy, removed = count, updates = count,
    tokens = count, flops = amount, seconds = amount, model_path = { type = 'string' },
    run_file_bytes = some_count, -- not there in older ones
  },
}

-- JSON has no NaN, so null was written.
local function restore_nan(part)
  for _, name in ipairs { 'accuracy', 'explicit_accuracy', 'test_accuracy', 'hits' } do
    if part[name] == json.null then part[name] = 0 / 0 end
  end
end

--- Makes sure that a checkpoint.json says all that is needed, and nothing that cannot be.
---@param description table its contents; accuracies that are null become NaN again
---@param path string for messages
---raises an error that names the field
function checkpoint_format.check(description, path)
  options.check(always, options.known_part(always, description), path)
  for name, known in pairs(sometimes) do
    local given = description[name]
    if given ~= nil then
      options.check(known, options.known_part(known, given), path, name .. '.')
      restore_nan(given)
    end
  end
  restore_nan(description.state)
  restore_nan(description.state.meter.current)
end

return checkpoint_format
