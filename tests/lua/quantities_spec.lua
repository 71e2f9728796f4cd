--- What tasks tell a probe to look for in an example.
local modular_sum = require 'datasets.modular_sum'
local multiplication = require 'datasets.multiplication'
local parity = require 'datasets.parity'
local tasks = require 'icot.data.tasks'

-- 'partial product 1: 6 7 0' for 'partial product 1, digit 1' = 6 and so on; names must count from 1.
local function shown(found)
  local lines, counts = {}, {}
  for _, quantity in ipairs(found) do
    local group, number = quantity.name:match('^(.*), %a+ (%d+)$')
    counts[group] = (counts[group] or 0) + 1
    assert.equal(counts[group], tonumber(number))
    if counts[group] == 1 then lines[#lines + 1] = group .. ':' end
    lines[#lines] = lines[#lines] .. ' ' .. quantity.value
  end
  return lines
end

describe('the quantities of', function()
  it('multiplication are partial products, running sums and the product', function()
    assert.same({ 'partial product 1: 6 7 0', 'partial product 2: 0 7 5 0', 'product: 6 4 6 0' },
                shown(multiplication.quantities('9 1 * 4 3', '6 7 0 + 0 7 5 0', '6 4 6 0')))
    assert.same({ 'partial product 1: 3 3 2 7 3', 'partial product 2: 0 0 0 0 0 0', 'running sum 2: 3 3 2 7 3 0',
                  'partial product 3: 0 0 0 0 0 0 0', 'running sum 3: 3 3 2 7 3 0 0',
                  'partial product 4: 0 0 0 4 7 2 8 0', 'product: 3 3 2 1 1 3 8 0' },
                shown(multiplication.quantities(
                  '7 3 1 4 * 9 0 0 2',
                  '3 3 2 7 3 + 0 0 0 0 0 0 ( 3 3 2 7 3 0 ) + 0 0 0 0 0 0 0 ( 3 3 2 7 3 0 0 ) + 0 0 0 4 7 2 8 0',
                  '3 3 2 1 1 3 8 0')))
  end)

  it('modular_sum are the sums so far', function()
    assert.same({ 'running sum 2: 4 3', 'running sum 3: 9 3' },
                shown(modular_sum.quantities('2 4 + 9 8 + 5 0', '4 3 , 9 3', '9 3')))
  end)

  it('parity are the parities of its chain, by the bit that they go up to, or of the levels of its tree', function()
    local chain = parity.quantities('1 0 1 1 0', '1 0 1 1', '1', tasks.check { task = 'parity', bits = 5 })
    assert.same({ 'running parity, bit 2', '1' }, { chain[1].name, chain[1].value })
    assert.same({ 'running parity, bit 5', '1' }, { chain[4].name, chain[4].value })
    assert.equal(4, #chain)
    local tree = tasks.check { task = 'parity', bits = 8, parity = 5, order = 'tree' }
    assert.same({ 'level 1: 1 1 1', 'level 2: 0 1', 'level 3: 1' },
                shown(parity.quantities('1 0 1 0 1 1 1 1', '1 1 1 0 1 1', '1', tree)))
  end)
end)
