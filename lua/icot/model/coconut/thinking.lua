--- Carries out the passes of a batch (icot.model.coconut.passes) with a GPT-2. To be made and used in one scope.
local EarlierRows = require 'icot.model.coconut.earlier_rows'
local rows = require 'icot.tensor.rows'
local tensor = require 'icot.tensor'

-- What dropout draws depends on a row's number, and each pass counts its rows from 0. So each draws as if the run had
-- another seed: the pass p that of the seed + p · 2^36, and thoughts, before they enter, that with 2^35 more.
local OF_PASS, OF_THOUGHTS = 2 ^ 36, 2 ^ 35

---@class icot.coconut.Thinking
---@field gpt2 icot.GPT2
---@field packed icot.Batch|icot.BatchPart
---@field earlier icot.EarlierRows
---@field states? icot.Tensor (S, width): what becomes thoughts, of all passes so far
---@field dropout? { seed: integer, step: integer }
---@field watch? fun(name: string, output: icot.Tensor)
local Thinking = {}
Thinking.__index = Thinking

--- Begins with a batch; nothing is computed yet.
---@param gpt2 icot.GPT2
---@param packed icot.Batch|icot.BatchPart
---@param dropout? { seed: integer, step: integer } while training
---@param watch? fun(name: string, output: icot.Tensor)
---@return icot.coconut.Thinking
function Thinking.new(gpt2, packed, dropout, watch)
  return setmetatable({
    gpt2 = gpt2, packed = packed, earlier = EarlierRows.new(packed), dropout = dropout, watch = watch,
  }, Thinking)
end

-- Some numbers of the batch, by row.
local function numbers_at(self, array, wanted)
  local found = {}
  for i, row in ipairs(wanted) do found[i] = array[self.packed.first_token + row] end
  return rows.ints(found)
end

local function dropout_of(self, pass, more)
  local given = self.dropout
  return given and { seed = given.seed + pass.number * OF_PASS + (more or 0), step = given.step }
end

--- What enters where thoughts do.
---@param at integer[] rows of the batch (or part)
---@param from integer[] which of all states so far each of them is
---@return icot.Tensor (#at, width)
function Thinking:thoughts(at, from)
  return self.gpt2:thoughts(self.states:embedding(rows.ints(from)), numbers_at(self, self.packed.raw.positions, at))
end

-- The `enter` (icot.Context) that puts thoughts into the rows of a pass where they belong; nil: it has none.
local function entering(self, pass)
  if #pass.thoughts == 0 then return nil end
  local places, at, from = {}, {}, {}
  for i, thought in ipairs(pass.thoughts) do
    places[i], at[i], from[i] = thought.row, pass.rows[thought.row + 1], thought.state
  end
  local context = { dropout = dropout_of(self, pass, OF_THOUGHTS), first_token = pass.before.thoughts }
  return rows.entering(#pass.rows, places, self.gpt2.transformer.drop(self:thoughts(at, from), context))
end

--- Carries out a pass.
---@param pass icot.coconut.Pass
---@param wanted integer[] rows of it
---@param first_wanted integer number, for dropout, of the first of them
---@return icot.Tensor (#wanted, width) hidden states after the last layer norm
function Thinking:compute(pass, wanted, first_wanted)
  local raw = self.packed.raw
  self.earlier:begin(pass)
  return self.gpt2:hidden(numbers_at(self, raw.tokens, pass.rows), numbers_at(self, raw.positions, pass.rows), {
    cu_seqlens = rows.ints(pass.cu_seqlens), cache = self.earlier, watch = self.watch, enter = entering(self, pass),
    dropout = dropout_of(self, pass), first_token = pass.before.rows, first_target = first_wanted,
  }, rows.ints(wanted))
end

--- Carries out all passes but the last: then all thoughts are there.
---@param list icot.coconut.Pass[]
function Thinking:think(list)
  for p = 1, #list - 1 do
    local pass = list[p]
    if #pass.rows > 0 then -- in a part of a batch there may be none
      local made = self:compute(pass, pass.last_rows, pass.before.last_rows)
      self.states = self.states and tensor.concat({ self.states, made }, 0) or made
    end
  end
end

return Thinking
