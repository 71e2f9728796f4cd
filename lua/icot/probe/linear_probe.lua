--- Linear probes: multinomial logistic regression from hidden states to labels (Alain, Bengio 2016). All quantities are
--- fitted at once, each as if it were alone: one weight (K·C, width), whose logits are K separate choices of C classes.
local interrupt = require 'icot.engine.interrupt'
local optim = require 'icot.training.optim'
local scope = require 'icot.engine.scope'
local tensor = require 'icot.tensor'

local linear_probe = {}

local BATCH, PASSES, LR = 200, 20, 0.1 -- examples per update, passes over them, the first learning rate
local SMALLEST_STD = 1e-4 -- what differs by less between examples, such as the embedding of ####, stays as it is

-- What brings states to mean 0 and standard deviation 1 over the examples, feature by feature: two (1, width).
local function standard_of(states)
  local mean = states:mean(0, true)
  local variance = (states - mean):pow(2):mean(0, true)
  return mean, (variance + SMALLEST_STD ^ 2):sqrt()
end

-- Rows first … first+n-1 of the labels as the targets of n·K choices.
local function targets_of(numbers, first, n, n_columns)
  return tensor.from_ints(numbers + first * n_columns, n * n_columns)
end

-- Minimized is the sum of cross-entropies over the examples plus half the sum of squared weights (the default of
-- scikit-learn's LogisticRegression), both divided by the number of examples.
local function update(probe, states, targets, lr)
  local logits = states:linear(probe.weight, probe.bias):reshape(-1, probe.classes)
  local flat = probe.weight:reshape(1, -1)
  local squares = flat:linear(flat):reshape() -- their sum, as a matrix product: half the time of a product and a sum
  local loss = logits:cross_entropy(targets) * probe.n_columns
    + squares * (0.5 / probe.n_fit)
  loss:backward()
  probe.optimizer:step { lr = lr }
  probe.optimizer:zero_grad()
end

-- The learning rate falls to zero, so that the order of the examples is no matter in the end.
local function fit(probe, states, labels)
  local n, done, updates = labels.n_fit, 0, PASSES * math.ceil(labels.n_fit / BATCH)
  for _ = 1, PASSES do
    interrupt.check()
    for first = 0, n - 1, BATCH do
      local count = math.min(BATCH, n - first)
      scope.run(function()
        update(probe, states:narrow(0, first, count), targets_of(labels.fit, first, count, probe.n_columns),
               LR * (1 - done / updates))
      end)
      done = done + 1
    end
  end
end

-- For each column the share of held-out examples that are told right.
local function score(probe, states, labels)
  local logits = states:linear(probe.weight, probe.bias):reshape(-1, probe.classes)
  local told, n_columns, accuracies = logits:argmax():read(), probe.n_columns, {}
  for k = 1, n_columns do
    local hits = 0
    for i = k - 1, labels.n_held_out * n_columns - 1, n_columns do
      if told[i] == labels.held_out[i] then hits = hits + 1 end
    end
    accuracies[k] = hits / labels.n_held_out
  end
  return accuracies
end

--- Fits a probe to each column of the labels, and tests it on examples that it was not fitted to. The same numbers give
--- the same result: weights begin at zero, and nothing is drawn.
---@param states { fit: icot.Tensor, held_out: icot.Tensor } (n_fit, width) and (n_held_out, width)
---@param labels icot.probe.Labels
---@return number[] accuracies (K) on the held-out examples
---raises what icot.engine.interrupt does when the user ends the program.
function linear_probe.accuracies(states, labels)
  return scope.run(function()
    local n_columns, width = #labels.columns, states.fit:size(1)
    local probe = {
      n_columns = n_columns, classes = labels.classes, n_fit = labels.n_fit,
      weight = tensor.zeros({ n_columns * labels.classes, width }):requires_grad_(),
      bias = tensor.zeros({ n_columns * labels.classes }):requires_grad_(),
    }
    probe.optimizer = optim.AdamW({ probe.weight, probe.bias }, { weight_decay = 0 })
    local mean, std = standard_of(states.fit)
    fit(probe, (states.fit - mean) / std, labels)
    return scope.no_grad(score, probe, (states.held_out - mean) / std, labels)
  end)
end

return linear_probe
