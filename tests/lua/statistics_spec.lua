--- icot.study.statistics, against values from tables and textbooks.
local statistics = require 'icot.study.statistics'

describe("Student's t", function()
  it('has the quantiles that tables have', function()
    -- two-sided; Abramowitz and Stegun, table 26.10
    for freedom, expected in pairs {
      12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, [9] = 2.262, [10] = 2.228, [29] = 2.045, [30] = 2.042,
      [60] = 2.000, [120] = 1.980,
    } do
      assert.near(expected, statistics.student(freedom, 0.95), 5e-4, freedom .. ' degrees of freedom')
    end
    assert.near(63.657, statistics.student(1, 0.99), 5e-4)
    assert.near(3.169, statistics.student(10, 0.99), 5e-4)
  end)

  it('comes close to the normal distribution with many degrees of freedom', function()
    assert.near(1.95996, statistics.student(100000, 0.95), 1e-4)
  end)
end)

describe('the interval of a mean', function()
  it('is mean ± t·s/√n', function()
    local values = { 0.9, 0.8, 0.7, 0.8 } -- s = √(0.02/3), t = 3.182
    assert.near(0.8, statistics.mean(values), 1e-12)
    assert.near(math.sqrt(0.02 / 3), statistics.deviation(values), 1e-12)
    local low, high = statistics.interval(values, 0.95)
    assert.near(0.8 - 3.18245 * math.sqrt(0.02 / 3) / 2, low, 1e-5)
    assert.near(1.6, low + high, 1e-12)
  end)

  it('is a point where all values are equal, and unknown of fewer than two', function()
    assert.same({ 0.5, 0.5 }, { statistics.interval({ 0.5, 0.5, 0.5 }, 0.95) })
    for _, values in ipairs { {}, { 0.5 } } do
      local low, high = statistics.interval(values, 0.95)
      assert.is_true(low ~= low and high ~= high)
    end
  end)
end)
