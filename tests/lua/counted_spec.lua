--- Numbers with the nouns that they count.
local counted = require 'icot.base.counted'

describe('counted', function()
  it('has the form of a noun that its number asks for', function()
    assert.equal('1 token', counted.of(1, 'token'))
    assert.equal('0 tokens', counted.of(0, 'token'))
    assert.equal('2 entries', counted.of(2, 'entry', 'entries'))
  end)

  it('has the form that the whole asks for where a part is counted', function()
    assert.equal('1 of 3 examples', counted.part_of(1, 3, 'example'))
    assert.equal('1 of 1 example', counted.part_of(1, 1, 'example'))
  end)
end)
