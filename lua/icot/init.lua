--- Everything of icot under one name: `local icot = require 'icot'`.
---
--- Modules are loaded when they are first touched, so a recipe pays only for what it uses.
local core = require 'icot.engine.core'

-- What recipes, datasets and scripts are written with, and where it lies. All else is icot's own business.
local public = {
  tensor = 'icot.tensor', nn = 'icot.nn', optim = 'icot.training.optim', scope = 'icot.engine.scope',
  random = 'icot.engine.random', safetensors = 'icot.tensor.safetensors',
  gpt2 = 'icot.gpt2', generate = 'icot.gpt2.generate', evaluate = 'icot.training.evaluate',
  vocabulary = 'icot.text.vocabulary', tokenizer = 'icot.text.tokenizer', corpus = 'icot.text.corpus',
  batch = 'icot.text.batch', removal = 'icot.text.removal', schedule = 'icot.schedule',
  made_up = 'icot.data.made_up', steps = 'icot.data.steps', dataset = 'icot.data.dataset',
  text_files = 'icot.data.text_files', tasks = 'icot.data.tasks',
  recipe = 'icot.recipe', study = 'icot.study', checkpoint = 'icot.saved.checkpoint', runlog = 'icot.results.runlog',
}

local icot = { version = core.versions().icot }

return setmetatable(icot, {
  __index = function(self, name)
    local module = public[name] and require(public[name])
    rawset(self, name, module)
    return module
  end,
})
