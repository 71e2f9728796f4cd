--- Greedy decoding: with the cache as without, at the positions of training, until each text is complete.
local batch = require 'icot.text.batch'
local core = require 'icot.engine.core'
local expect = require 'tests.lua.support.expect'
local ffi = require 'ffi'
local generate = require 'icot.gpt2.generate'
local removal = require 'icot.text.removal'
local scope = require 'icot.engine.scope'
local scripted = require 'tests.lua.support.scripted'
local tensor = require 'icot.tensor'
local tiny = require 'tests.lua.support.tiny'

local function never() return false end

-- The next token after a whole sequence, computed without a cache.
local function next_token(model, tokens, positions)
  return scope.run(scope.no_grad, function()
    local ints = function(list) return tensor.new(list, 'int32') end
    local hidden = model:hidden(ints(tokens), ints(positions), { cu_seqlens = ints { 0, #tokens } })
    return model:logits(hidden:embedding(ints { #tokens - 1 })):argmax():totable()[1]
  end)
end

-- What greedy decoding must give for one prompt, token by token; place(written, position) as in icot.Prompt.
local function decode_slowly(model, prompt, count, place)
  local tokens, positions, written = { unpack(prompt.tokens) }, { unpack(prompt.positions) }, {}
  for _ = 1, count do
    local token, position = next_token(model, tokens, positions), positions[#positions] + 1
    written[#written + 1] = token
    if place then position = place(written, position) end
    tokens[#tokens + 1], positions[#positions + 1] = token, position
    if position >= model.config.context then break end
  end
  return written
end

local function prompts_from(first_positions)
  local prompts = {}
  for i, length in ipairs { 1, 5, 2, 7 } do
    prompts[i] = { tokens = {}, positions = {} }
    for k = 1, length do
      prompts[i].tokens[k] = 2 + (3 * i + k * k) % 7
      prompts[i].positions[k] = first_positions + k - 1
    end
  end
  return prompts
end

describe('greedy decoding with a cache', function()
  local data = tiny.dataset { { 9, 12, 6 } }
  local model = tiny.model(data)

  it('writes what recomputing everything would, for ragged prompts', function()
    for _, first in ipairs { 0, 4 } do
      local written = generate.greedy(model, prompts_from(first), { max_new_tokens = 12, is_finished = never })
      for i, prompt in ipairs(prompts_from(first)) do
        assert.same(decode_slowly(model, prompt, 12), written[i])
      end
    end
  end)

  it('does so where positions jump', function()
    local function place(written, position) return #written == 2 and position + 5 or position end
    local prompts = prompts_from(0)
    for _, prompt in ipairs(prompts) do prompt.place = place end
    local written = generate.greedy(model, prompts, { max_new_tokens = 9, is_finished = never })
    local without = {}
    for i, prompt in ipairs(prompts_from(0)) do
      assert.same(decode_slowly(model, prompt, 9, place), written[i])
      without[i] = decode_slowly(model, prompt, 9)
    end
    assert.not_same(without, written) -- or else this tests nothing
  end)

  it('does so where tokens are given in between', function()
    local between = { [2] = { 3, 3 }, [4] = { 4, 5, 6 } }
    local given = { most = 5, after = function(written) return between[#written] or {} end }
    local prompts, longer, without = prompts_from(0), prompts_from(0), {}
    for _, prompt in ipairs(prompts) do prompt.given = given end
    local written = generate.greedy(model, prompts, { max_new_tokens = 6, is_finished = never })
    for i, prompt in ipairs(longer) do
      without[i] = decode_slowly(model, prompt, 6)
      for k, token in ipairs(written[i]) do -- each token is what would follow all that was read before
        assert.equal(decode_slowly(model, prompt, 1)[1], token)
        for _, read in ipairs { token, unpack(given.after { unpack(written[i], 1, k) }) } do
          table.insert(prompt.tokens, read)
          table.insert(prompt.positions, #prompt.positions)
        end
      end
      assert.equal(6, #written[i])
    end
    assert.not_same(without, written)
    local last = model.config.context - 1
    local late = { { tokens = { 2 }, positions = { last - 5 } } }
    late[2] = { tokens = { 2 }, positions = { last - 5 }, given = given }
    local ended = generate.greedy(model, late, { max_new_tokens = 12, is_finished = never })
    assert.same({ 6, 4 }, { #ended[1], #ended[2] }) -- two positions were given
  end)

  it('stops each text when it is complete, at most tokens, and at the end of the context', function()
    local all = generate.greedy(model, prompts_from(0), { max_new_tokens = 12, is_finished = never })
    local function after_third(written) return #written == 3 or written[#written] == all[2][1] end
    local some = generate.greedy(model, prompts_from(0), { max_new_tokens = 12, is_finished = after_third })
    for i = 1, 4 do
      local expected = {}
      for k = 1, 3 do
        expected[k] = all[i][k]
        if expected[k] == all[2][1] then break end
      end
      assert.same(expected, some[i])
    end
    local last = model.config.context - 1
    local late = { { tokens = { 2 }, positions = { last - 3 } }, { tokens = { 3 }, positions = { last } } }
    local written = generate.greedy(model, late, { max_new_tokens = 12, is_finished = never })
    assert.same({ 4, 1 }, { #written[1], #written[2] })
  end)

  it('gives its memory back, also after an error', function()
    local function run(prompts) return generate.greedy(model, prompts, { max_new_tokens = 5, is_finished = never }) end
    run(prompts_from(0))
    local before = core.memory().live
    run(prompts_from(0))
    assert.equal(before, core.memory().live)
    expect.mentions(expect.user_error(run, { { tokens = { 2 }, positions = { 9999 } } }), 'position 0 is 9999')
    assert.equal(before, core.memory().live)
    assert.equal(0, core.C.icot_scope_depth(core.engine()))
    assert.equal(1, core.C.icot_grad_enabled(core.engine()))
  end)

  it('has nothing to do without prompts or without room', function()
    assert.same({}, generate.greedy(model, {}, { max_new_tokens = 5, is_finished = never }))
    assert.same({ {} }, generate.greedy(model, { { tokens = { 2 }, positions = { 0 } } },
      { max_new_tokens = 0, is_finished = never }))
  end)
end)

describe('forward passes', function()
  it('take only the sequences that go on, and only their new tokens', function()
    local config = { vocab_size = 9, layers = 1, heads = 1, width = 1, context = 50 }
    local model = scripted.new(config, { { 5, 0 }, { 6, 6, 6, 0 }, { 0 } })
    local prompts = { { tokens = { 2, 3 }, positions = { 0, 1 } }, { tokens = { 4 }, positions = { 7 } },
                      { tokens = { 2, 2, 2 }, positions = { 0, 1, 2 } } }
    local written = generate.greedy(model, prompts, {
      max_new_tokens = 10, is_finished = function(text) return text[#text] == 0 end,
    })
    assert.same({ { 5, 0 }, { 6, 6, 6, 0 }, { 0 } }, written)
    assert.same({ { 2, 3, 5 }, { 4, 6, 6, 6 }, { 2, 2, 2 } }, model.tokens)
    assert.same({ { 0, 1, 2 }, { 7, 8, 9, 10 }, { 0, 1, 2 } }, model.positions)
    assert.equal(4, model.calls)
    assert.same({ { 1, 2, 5 }, 'all', 'all', 'all' }, model.rows)
  end)
end)

-- For each way of cutting the CoT: body(removing, removed, beyond)
local function each_removal(body)
  for _, side in ipairs { 'left', 'right', 'both', 'random' } do
    for _, positions in ipairs { 'closed_up', 'kept' } do
      for _, removed in ipairs { 0, 1, 3, 5, 6, 100, math.huge } do
        body({ side = side, positions = positions, smoothing = 4 }, removed)
        body({ side = side, positions = positions, smoothing = 4, remove_all_beyond = 3 }, removed)
      end
    end
  end
end

describe('the <eos> after the CoT', function()
  it('stands where it stands in training', function()
    local data = tiny.dataset()
    local packed = batch.new()
    each_removal(function(removing, removed)
      local cut = removal.cut(removing, data, removed)
      for id = 0, data.train:size() - 1 do
        packed:pack(data.train, ffi.new('int64_t[1]', id), 1, cut)
        local raw, _, _, answer = packed.raw, data.train:lengths(id)
        local eos_row = tonumber(raw.n_tokens) - answer - 3
        local counted_on = raw.positions[eos_row - 1] + 1
        assert.equal(data.vocabulary.eos, raw.tokens[eos_row])
        local places = removal.places(cut, data.train, id)
        assert.equal(raw.positions[eos_row], places and places.rest or counted_on)
      end
    end)
    packed:free()
    data:free()
  end)
end)
