--- `icot ask`: what the model of a run, or of one of its checkpoints, answers to questions whose answer need not be
--- known.
---
---   icot ask results/mult.h5 '1 2 * 3 4'
---   icot ask results/mult/checkpoints/step-000004000 < questions.txt
local common = require 'icot.cli.common'
local corpus = require 'icot.text.corpus'
local declare = require 'icot.cli.declare'
local errors = require 'icot.base.errors'
local example_file = require 'icot.text.example_file'
local ffi = require 'ffi'
local options = require 'icot.base.options'
local removal = require 'icot.text.removal'
local terminal = require 'icot.base.terminal'
local trained_run = require 'icot.cli.trained_run'
local writing = require 'icot.training.writing'

local ask = {}

--- Describes the command to the argument parser.
---@param command table a command of lua-argparse
function ask.configure(command)
  command:argument('run', 'a run file, whose newest checkpoint is taken, or a checkpoint'):argname('RUN')
  command:argument('question', 'written as in the dataset; without any, each line of the standard input is one')
    :args('*'):argname('QUESTION')
  declare.integer(command, '--removed', 'answer as if so many CoT tokens, or steps, were removed: '
                  .. 'the model may write as many fewer; default: as in training', 0, options.largest_integer)
  declare.threads(command)
  declare.device(command)
end

-- ---- The length of their CoT ---------------------------------------------------------------------

-- The length that all CoTs of the training examples have, or nil.
local function only_length(data)
  local first
  for id = 0, data.train:size() - 1 do
    local _, cot = data.train:lengths(id)
    if first and cot ~= first then return nil end
    first = cot
  end
  return first
end

-- Tokens of the CoT that a question is taken to have: 0 where they do not matter.
local function length_of_cot(run)
  local why = run:needs_length_of_cot()
  if not why then return 0 end
  local length = run.config.removal.unit ~= 'step' and only_length(run.data)
  if length then return length end
  errors.raise("ask: %s the position of the answer depends on the CoT's length, which a question alone does not tell; "
               .. 'give whole examples: icot eval RUN --file FILE --show N', why)
end

-- ---- Questions ----------------------------------------------------------------------------------

-- The questions in turn, with their numbers: those of the command line, or, without any, the lines of the standard
-- input that are not empty.
local function questions_of(args)
  local number = 0
  if #args.question > 0 then
    return function()
      number = number + 1
      return args.question[number] and number, args.question[number]
    end
  end
  local next_line = example_file.lines_from(io.stdin)
  return function()
    local place, line
    repeat place, line = next_line() until line ~= ''
    return place, line
  end
end

-- Adds a question to a corpus. Of its CoT no more than the length matters, of its answer nothing.
local function add(asked, asking, question)
  local words, cot, problem = asked.words, {}, example_file.problem_of_question(question)
  if problem then errors.raise('%s', problem) end
  local ids = ffi.new('int32_t[?]', #question + 1)
  local count = words:encode_part_into(question, ids)
  if count + 1 + asked.leading + asked.cot >= asked.context then
    errors.raise('it has %d tokens, but the model has a context of %d', count, asked.context)
  end
  for i = 1, asked.cot do cot[i] = words.eos end
  asking:append_arrays(ids, count, ffi.new('int32_t[?]', #cot, cot), #cot, ffi.new('int32_t[1]', words.eos), 1)
  if asked.run.removing.unit == 'step' then asking:mark_steps({}) end
end

-- The next questions, at most that many, up to one that cannot be asked; and what is wrong with that.
local function next_questions(asked, next_question, most)
  local asking, chunk = corpus.new(asked.run.data.vocabulary), {}
  while #chunk < most do
    local number, question = next_question()
    if not number then break end
    local ok, problem = pcall(add, asked, asking, question)
    if not ok and not errors.is_user_error(problem) then error(problem, 0) end
    if not ok then return asking, chunk, ('question %d: %s'):format(number, errors.describe(problem)) end
    chunk[#chunk + 1] = question
  end
  return asking, chunk
end

-- ---- Answers ------------------------------------------------------------------------------------

local function answer(run, asking, chunk)
  local texts = #chunk == 0 and {} or writing.for_examples(run.model, run.data, asking, {
    start = 0, count = #chunk, removed = run.removed, removing = run.removing, longest_cot = run.data.longest_cot,
  })
  for i, question in ipairs(chunk) do
    print(errors.one_line(trained_run.line_of(question, writing.describe(texts[i], run.data.vocabulary))))
  end
  io.stdout:flush()
end

-- Somebody who types is answered each question, and goes on after one that cannot be asked.
local function answer_all(asked, args)
  local next_question, most = questions_of(args), asked.typed and 1 or asked.run.config.evaluate.batch
  repeat
    local asking, chunk, problem = next_questions(asked, next_question, most)
    answer(asked.run, asking, chunk)
    asking:free()
    if problem and not asked.typed then errors.raise('ask: %s', problem) end
    if problem then terminal.tell(problem) end
  until #chunk == 0 and not problem
end

-- What adding questions needs to know.
local function prepare(run, args)
  if run.model.reads_cot then
    errors.raise('ask: %s: answers with the states of a teacher that reads the CoT, which a question alone does not '
                 .. 'have; give whole examples: icot eval RUN --file FILE --show N', run.checkpoint.path)
  end
  return {
    run = run, words = run:words_of_examples(), cot = length_of_cot(run),
    leading = removal.leading(removal.cut(run.removing, run.data, run.removed)), context = run:context 'ask',
    typed = #args.question == 0 and terminal.is_typed_at(),
  }
end

local function run_with(run, args)
  run:load_model()
  local asked = prepare(run, args)
  if asked.typed then terminal.tell('a question per line; Ctrl-D ends') end
  answer_all(asked, args)
end

--- Runs the command. A signal ends it as it ends any program: it has nothing to save.
---@param args table what the argument parser gave
---@return integer exit_code
---raises an error when there is no model, or a question has symbols that it does not know
function ask.run(args)
  common.use_threads(args)
  common.use_device(args)
  trained_run.with(trained_run.find(args.run, 'ask'), args, run_with)
  return 0
end

return ask
