--- What the steps of knowledge distillation train (Deng et al. 2023), an icot.Model each:
---
---     student    learns to answer from the states of a teacher that reads the CoT
---     emulator   learns to predict these states from the question alone
---     coupled    both, end to end: the emulator's states go into the student, which answers from the question alone
---
--- The teacher is a GPT-2 of its own that stays as it is. A folder holds the student's GPT-2 in Hugging Face's form,
--- and everything else of student and emulator in model_file.OTHERS.
local Emulator = require 'icot.model.distillation.emulator'
local cleanup = require 'icot.base.cleanup'
local errors = require 'icot.base.errors'
local gpt2 = require 'icot.gpt2'
local model_file = require 'icot.model.model_file'
local nn = require 'icot.nn'
local random = require 'icot.engine.random'
local scope = require 'icot.engine.scope'
local starting_model = require 'icot.model.starting_model'
local states = require 'icot.model.distillation.states'
local Student = require 'icot.model.distillation.student'
local values = require 'icot.base.values'

local model = {}

-- Added to a run's seed for the initial parameters of networks beside the student's GPT-2.
local SEEDS = { projections = 2 ^ 32, emulator = 2 ^ 33, predictors = 2 ^ 34 }

---@class icot.DistillationModel: icot.Model
---@field step 'student'|'emulator'|'coupled'
---@field student icot.Student
---@field emulator icot.Emulator? not in step 'student'
---@field teacher icot.GPT2? not in step 'coupled'
---@field trained icot.Module those of them that learn
local Model = {}
Model.__index = Model

local trained_in = { student = { 'student' }, emulator = { 'emulator' }, coupled = { 'student', 'emulator' } }

local Networks = nn.class('Networks')

-- ---- Parameters ---------------------------------------------------------------------------------

function Model:named_parameters() return self.trained:named_parameters() end
function Model:parameters() return self.trained:parameters() end
function Model:count_parameters() return self.trained:count_parameters() end

--- Frees all networks.
function Model:free()
  for _, name in ipairs { 'student', 'emulator', 'teacher' } do
    if self[name] then self[name]:free() end
  end
end

-- ---- Learning and decoding ----------------------------------------------------------------------

-- What the student is given, (B, C) for each layer.
local function states_for(self, packed, dropout, watch)
  if self.emulator then return self.emulator:predict(packed, dropout, watch) end
  return states.of_teacher(self.teacher, packed.explicit)
end

-- Mean over examples, layers and features.
local function squared_error(predicted, wanted)
  local sum
  for layer, each in ipairs(predicted) do
    local error_here = (each - wanted[layer]):pow(2):mean()
    sum = sum and sum + error_here or error_here
  end
  return sum * (1 / #predicted)
end

--- Loss of a packed batch without CoT, with what the step needs beside it (`reads_cot`).
---@param batch icot.Batch|icot.BatchPart
---@param dropout? { seed: integer, step: integer } while training
---@param watch? fun(name: string, output: icot.Tensor)
---@return icot.Tensor loss scalar: cross-entropy of the answer, or the squared error of the states
---@return icot.Tensor? logits (R, vocab_size) of the answer
---@return icot.Tensor? targets int32 (R)
function Model:loss(batch, dropout, watch)
  if self.step == 'emulator' then
    return squared_error(self.emulator:predict(batch, dropout, watch), states.of_teacher(self.teacher, batch.explicit))
  end
  return self.student:loss(batch, states_for(self, batch, dropout, watch), dropout, watch)
end

--- Terms of which `loss` is the mean.
---@param batch icot.Batch|icot.BatchPart
---@return integer
function Model:loss_terms(batch)
  return self.step == 'emulator' and batch:examples() or batch:targets()
end

--- How the answers to prompts are written: by the student, given the teacher's states while there is no emulator.
---@param prompts icot.Batch
---@return icot.GPT2
---@return fun(layer: integer, x: icot.Tensor): icot.Tensor enter for the pass over the prompts
function Model:decoding(prompts)
  return self.student.gpt2, self.student:reading(prompts, states_for(self, prompts))
end

--- Floating-point operations of one training step, of all networks that take part in it.
---@param shape icot.BatchShape
---@return number
function Model:step_flops(shape)
  local flops, explicit = 0, shape.explicit
  for _, name in ipairs(trained_in[self.step]) do flops = flops + self[name]:step_flops(shape) end
  return flops + (self.teacher and states.forward_flops(self.teacher, explicit.tokens, explicit.pairs) or 0)
end

-- ---- Folders ------------------------------------------------------------------------------------

--- The student's GPT-2 in Hugging Face's form, as GPT2:hugging_face_tensors.
---@return { name: string, tensor: icot.Tensor }[]
function Model:hugging_face_tensors() return self.student.gpt2:hugging_face_tensors() end

---@return table config.json of the student's GPT-2
function Model:hugging_face_config() return self.student.gpt2:hugging_face_config() end

--- All else that student and emulator have, by name.
---@return table<string, icot.Tensor>
function Model:other_tensors()
  local tensors = {}
  for _, network in ipairs { 'student', 'emulator' } do
    for _, each in ipairs(self[network] and self[network]:named_parameters() or {}) do
      local is_elsewhere = network == 'student' and each.name:find('^gpt2%.')
      if not is_elsewhere then tensors[network .. '.' .. each.name] = each.tensor end
    end
  end
  return tensors
end

-- A network around a GPT-2, which it owns from then on.
local function around(class, inner, ...)
  local made, arguments = nil, { ... }
  cleanup.on_error(function() inner:free() end, scope.all_or_none, function()
    made = class(inner, unpack(arguments))
    local own = {}
    for _, each in ipairs(made:named_parameters()) do
      if not each.name:find('^gpt2%.') then own[#own + 1] = each.tensor end
    end
    return own
  end)
  return made
end

-- A GPT-2 whose parameters will be read.
local function blank_like(other)
  local config = values.copy(other.config)
  config.initializer_range = 0
  local made = gpt2.new(config, 0)
  made.config = values.copy(other.config)
  return made
end

local function check_teacher(self, folder)
  local teacher, student = self.teacher.config, self.student.gpt2.config
  if teacher.layers == student.layers and teacher.width == student.width then return end
  errors.raise('distillation.teacher: %s has %d layers of width %d, but the student has %d of width %d',
               folder, teacher.layers, teacher.width, student.layers, student.width)
end

---@class icot.DistillationSource where the GPT-2s of a model come from
---@field student fun(folder?: string): icot.GPT2
---@field emulator fun(): icot.GPT2 a new one
---@field teacher fun(folder: string, student: icot.GPT2): icot.GPT2

-- Makes the networks of a step. `folder` has what the step before has left, or, if it `is_whole`, all of this one's.
local function fill(self, config, source, folder, is_whole)
  local given, seed = config.distillation, config.seed
  self.student = around(Student, source.student(folder), random.generator(seed + SEEDS.projections))
  if folder and not is_whole then model_file.read_others(folder, self:other_tensors()) end
  if self.step ~= 'student' then
    local inner = is_whole and blank_like(self.student.gpt2) or source.emulator()
    self.emulator = around(Emulator, inner, given, random.generator(seed + SEEDS.predictors))
  end
  if is_whole then model_file.read_others(folder, self:other_tensors()) end
  if self.step ~= 'coupled' then
    self.teacher = source.teacher(given.from.teacher, self.student.gpt2)
    check_teacher(self, given.from.teacher)
  end
  self.trained = Networks()
  for _, name in ipairs(trained_in[self.step]) do self.trained[name] = self[name] end
end

local notes = {
  student = "the accuracies of this step are those of a student that is given the teacher's states for the right "
    .. 'CoT, not of one that sees the question alone',
  emulator = 'the accuracies of this step are those of the student before it, given what the emulator predicts',
}

local function new(config, source, folder, is_whole)
  local step = config.distillation.step
  local self = setmetatable({
    step = step, reads_cot = step ~= 'coupled', squared_error = step == 'emulator', note = notes[step],
  }, Model)
  cleanup.or_free(self, fill, config, source, folder, is_whole)
  return self
end

--- The model of a step, made from what the step before has left, or as a checkpoint left it.
---@param config table resolved configuration; its `distillation` is that of a step (icot.recipe.chain)
---@param data icot.Dataset
---@param from? string folder of a checkpoint of this step
---@return icot.DistillationModel
function model.make(config, data, from)
  local given = config.distillation
  local self = new(config, {
    student = function(folder)
      return folder and starting_model.load(config, data, folder) or starting_model.make(config, data, config.seed)
    end,
    emulator = function() return starting_model.make(config, data, config.seed + SEEDS.emulator) end,
    teacher = function(folder) return starting_model.load(config, data, folder, 'distillation.teacher') end,
  }, from or given.from.networks, from ~= nil or given.step == 'coupled')
  for _, network in ipairs { self.student, self.emulator } do
    network.gpt2.activation_checkpointing = config.train.activation_checkpointing
  end
  return self
end

-- What is needed of `distillation` in the description of a checkpoint.
local function require_described(given, folder)
  if given and trained_in[given.step] and given.mixture and given.temperature and given.from then return end
  errors.raise("%s: checkpoint.json doesn't say which networks it has (config.distillation)", folder)
end

--- The model of a checkpoint, to be evaluated.
---@param config table that of the checkpoint
---@param folder string
---@return icot.DistillationModel
---raises an error when the teacher is not there any more
function model.load(config, folder)
  require_described(config.distillation, folder)
  return new({ seed = 0, distillation = config.distillation }, {
    student = gpt2.from_pretrained,
    teacher = function(path, student) return gpt2.from_pretrained(path, { context = student.config.context }) end,
  }, folder, true)
end

return model
