--- `make bench` in short: a tiny model, icot alone, one round.
local json = require 'icot.base.json'
local program = require 'tests.lua.support.program'
local temporary = require 'tests.lua.support.temporary'

local build = program.icot:match('^(.*)/bin/icot$')

local function bench(options)
  return program.shell(("tests/bench/run '%s' %s"):format(build, options))
end

describe('the bench', function()
  after_each(temporary.clean)

  it('measures training, decoding, memory and matrix products', function()
    local path = temporary.folder() .. '/numbers.json'
    local result = bench(("--ours --quick --shapes 1x32 --json '%s'"):format(path))
    assert.equal(0, result.code, result.err)
    assert.matches('Training step, tokens/s', result.out)

    local measured = assert(json.decode(temporary.read(path)))
    local shape = measured.shapes[1]
    local tokens = {}
    for i, row in ipairs(shape.training) do
      assert.is_true(row.seconds['icot float32'] > 0 and row.flops > 0)
      tokens[i] = row.tokens
    end
    -- 32 sequences of 67 tokens, 46 of them CoT; a few have one token fewer (removal smoothing).
    assert.near(32 * 67, tokens[1], 8)
    assert.near(32 * (67 - 23), tokens[2], 8)
    assert.equal(32 * (67 - 46), tokens[3])
    for _, row in ipairs(shape.decoding) do assert.is_true(row.rates['icot float32'] > 0) end
    local peak, parameters = shape.memory['icot float32'], 32 * (16 + 67) + 12 * 32 ^ 2
    assert.is_true(peak.core > 4 * 4 * parameters and peak.resident > peak.core) -- weights, gradients and moments
    assert.is_true(measured.limits.float32 >= shape.products['icot float32'].square)
  end)

  it('refuses what it cannot measure', function()
    for _, shape in ipairs { '2', '0x128', '2x33', '1x320000' } do
      local result = bench('--ours --shapes ' .. shape)
      assert.equal(2, result.code)
      assert.matches('expected LAYERSxWIDTH', result.err)
    end
  end)
end)
