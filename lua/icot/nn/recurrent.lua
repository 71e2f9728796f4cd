--- Layers that continue from what they gave before.
local class = require 'icot.nn.class'
local layers = require 'icot.nn.layers'
local tensor = require 'icot.tensor'

local recurrent = {}

--- One step of an LSTM, as PyTorch's: nn.LSTMCell(input, hidden, { std, generator }). The gates stand in the order
--- input, forget, cell, output: weight_ih (4H, in), weight_hh (4H, H), bias_ih and bias_hh (4H).
---@class icot.nn.LSTMCell: icot.Module
recurrent.LSTMCell = class.new('LSTMCell')

---@param input integer width of what is read
---@param hidden integer H, width of the state
---@param options? { std?: number, generator?: icot.Generator } std of the initial weights: 1/√(3·H) by default
function recurrent.LSTMCell:init(input, hidden, options)
  options = options or {}
  local drawn = { std = options.std or 1 / math.sqrt(3 * hidden), generator = options.generator } -- PyTorch's variance
  self.hidden = hidden
  self.weight_ih = class.parameter({ 4 * hidden, input }, drawn)
  self.weight_hh = class.parameter({ 4 * hidden, hidden }, drawn)
  self.bias_ih = tensor.zeros({ 4 * hidden }):requires_grad_()
  self.bias_hh = tensor.zeros({ 4 * hidden }):requires_grad_()
end

--- One step.
---@param x icot.Tensor (B, in)
---@param before? { hidden: icot.Tensor, cell: icot.Tensor } each (B, H); zeros by default
---@return { hidden: icot.Tensor, cell: icot.Tensor } after
function recurrent.LSTMCell:forward(x, before)
  local size = self.hidden
  local zeros = not before and tensor.zeros { x:size(0), size } or nil
  local hidden, cell = before and before.hidden or zeros, before and before.cell or zeros
  local gates = hidden:linear(self.weight_hh, self.bias_hh, x:linear(self.weight_ih, self.bias_ih)) -- (B, 4H)
  local function gate(k) return gates:narrow(1, k * size, size) end
  cell = gate(1):sigmoid() * cell + gate(0):sigmoid() * gate(2):tanh()
  return { hidden = gate(3):sigmoid() * cell:tanh(), cell = cell }
end

--- An LSTM that attends to what it gave before: nn.AttentiveLSTM(width, options of LSTMCell). Each step's query is
--- compared with the keys of the earlier steps, q·k/√C; what it finds there goes into its output, beside its hidden
--- state, and is added to the next step's input.
---@class icot.nn.AttentiveLSTM: icot.Module
recurrent.AttentiveLSTM = class.new('AttentiveLSTM')

---@param width integer C, of input, state and output
---@param options? { std?: number, generator?: icot.Generator }
function recurrent.AttentiveLSTM:init(width, options)
  self.cell = recurrent.LSTMCell(width, width, options)
  self.query_proj, self.key_proj = layers.Linear(width, width, options), layers.Linear(width, width, options)
  self.out_proj = layers.Linear(2 * width, width, options)
end

-- What a query (B, C) finds among keys and values (B, n, C).
local function look_up(query, keys, values)
  local rows, width = query:size(0), query:size(1)
  local scores = keys:matmul(query:reshape(rows, width, 1)) * (1 / math.sqrt(width)) -- (B, n, 1)
  local weights = scores:reshape(rows, 1, -1):softmax()
  return weights:matmul(values):reshape(rows, width)
end

local function appended(list, entry)
  return list and tensor.concat({ list, entry }, 1) or entry
end

--- One step.
---@param x icot.Tensor (B, C)
---@param before? table what the step before gave as its second value; nil at the first step
---@return icot.Tensor output (B, C)
---@return table after
function recurrent.AttentiveLSTM:forward(x, before)
  local rows, width = x:size(0), x:size(1)
  local state = self.cell(before and x + before.found or x, before and before.state)
  local hidden = state.hidden
  local found = before and look_up(self.query_proj(hidden), before.keys, before.values) or tensor.zeros { rows, width }
  return self.out_proj(tensor.concat({ hidden, found }, 1)), {
    state = state, found = found,
    keys = appended(before and before.keys, self.key_proj(hidden):reshape(rows, 1, width)),
    values = appended(before and before.values, hidden:reshape(rows, 1, width)),
  }
end

return recurrent
