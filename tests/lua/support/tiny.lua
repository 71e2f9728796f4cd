--- A dataset of ragged examples with made-up tokens, and models small enough to take milliseconds.
local corpus = require 'icot.text.corpus'
local dataset = require 'icot.data.dataset'
local gpt2 = require 'icot.gpt2'
local vocabulary = require 'icot.text.vocabulary'

local tiny = {}

local SYMBOLS = { 'a', 'b', 'c', 'd', 'e', 'f', 'g' }

--- Lengths of question, CoT and answer of the examples; the first has no CoT.
tiny.lengths = { { 1, 0, 1 }, { 4, 6, 3 }, { 2, 1, 1 }, { 3, 5, 2 }, { 1, 6, 2 }, { 5, 3, 1 } }

local function fill(into, lengths)
  local state = 1
  local function ids(n)
    local list = {}
    for i = 1, n do
      state = (state * 48271) % 2147483647
      list[i] = 2 + state % #SYMBOLS -- after <eos> and ####
    end
    return list
  end
  for _, each in ipairs(lengths) do into:append(ids(each[1]), ids(each[2]), ids(each[3])) end
  return into
end

--- A dataset whose three splits all hold examples of the given lengths (tiny.lengths by default).
---@param lengths? integer[][]
---@param ood? table<string, integer[][]> lengths of the examples of more splits
---@return icot.Dataset
function tiny.dataset(lengths, ood)
  local words = vocabulary.new('word', SYMBOLS)
  local function split(of) return fill(corpus.new(words), of or lengths or tiny.lengths) end
  local parts = { task = 'tiny', vocabulary = words, train = split(), valid = split(), test = split(), ood = {} }
  for name, of in pairs(ood or {}) do
    parts.ood[#parts.ood + 1], parts[name] = name, split(of)
  end
  return dataset.assemble(parts)
end

--- A model for it. Its initial weights are large, so that its outputs are no matter of rounding.
---@param data icot.Dataset
---@param options? { seed?: integer, dropout?: number, layers?: integer }
---@return icot.GPT2
function tiny.model(data, options)
  options = options or {}
  return gpt2.new({
    vocab_size = data.vocabulary.size, layers = options.layers or 2, heads = 2, width = 12,
    context = data.max_length, dropout = options.dropout or 0, initializer_range = 0.4,
  }, options.seed or 1)
end

--- The largest absolute difference of two lists of numbers (or arrays of C, with n).
function tiny.distance(a, b, n)
  local largest = 0
  for i = n and 0 or 1, n and n - 1 or #a do largest = math.max(largest, math.abs(a[i] - b[i])) end
  return largest
end

return tiny
