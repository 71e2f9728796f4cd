--- Layers, and how to write one's own:
---
---     local Gate = nn.class('Gate')
---     function Gate:init(width) self.gate = nn.Linear(width, width) end
---     function Gate:forward(x) return x * self.gate(x):sigmoid() end
---
--- Layers are made by calling their class and applied by calling them. Parameters are found by walking the fields:
--- a tensor that requires a gradient is a parameter, a layer or a list of layers is walked into.
local block = require 'icot.nn.block'
local class = require 'icot.nn.class'
local layers = require 'icot.nn.layers'
local recurrent = require 'icot.nn.recurrent'

return {
  class = class.new, parameter = class.parameter,

  Linear = layers.Linear, LayerNorm = layers.LayerNorm, Embedding = layers.Embedding, Dropout = layers.Dropout,

  LSTMCell = recurrent.LSTMCell, AttentiveLSTM = recurrent.AttentiveLSTM,

  Attention = block.Attention, MLP = block.MLP, Block = block.Block, dropout_stream = block.dropout_stream,
}
