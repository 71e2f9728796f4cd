--- The dataset `multiplication`: exact, seeded, splits kept apart; and the checker.
local dataset = require 'icot.data.dataset'
local example_file = require 'icot.text.example_file'
local multiplication = require 'datasets.multiplication'
local tasks = require 'icot.data.tasks'
local vocabulary = require 'icot.text.vocabulary'
local examples = require 'tests.lua.support.examples'
local expect = require 'tests.lua.support.expect'

local message_of, assert_mentions = expect.user_error, expect.mentions

describe('multiplication', function()
  local function load(given, wanted)
    given.task = 'multiplication'
    return tasks.load(given, wanted)
  end

  local lines_of = examples.lines

  local function operands_of(line)
    return line:match('^([%d ]+) %* ([%d ]+)||')
  end

  local function write(digits, a, b, second)
    local writer = require 'datasets.multiplication.writer'
    local symbols = vocabulary.new('word', { '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '+', '(', ')' })
    local page = writer.new(symbols, digits, second or digits)
    page:write(a[1], a[2], b[1], b[2])
    return example_file.format(symbols:decode(page.question, page.n_question), symbols:decode(page.cot, page.n_cot),
      symbols:decode(page.answer, page.n_answer))
  end

  it('writes what one gets by hand', function()
    assert.equal('9 1 * 4 3||6 7 0 + 0 7 5 0 #### 6 4 6 0', write(2, { 0, 19 }, { 0, 34 }))
    assert.equal('0 1 * 0 1||0 0 0 + 0 0 1 0 #### 0 0 1 0', write(2, { 0, 10 }, { 0, 10 }))
    assert.equal('3 2 1 * 6 5 4||8 3 7 0 + 0 5 1 6 0 ( 8 8 8 6 0 ) + 0 0 2 9 4 0 #### 8 8 0 6 5 0',
      write(3, { 0, 123 }, { 0, 456 }))
    assert.equal('7 3 1 4 * 9 0 0 2||3 3 2 7 3 + 0 0 0 0 0 0 ( 3 3 2 7 3 0 ) + 0 0 0 0 0 0 0 ( 3 3 2 7 3 0 0 )'
      .. ' + 0 0 0 4 7 2 8 0 #### 3 3 2 1 1 3 8 0', write(4, { 0, 4137 }, { 0, 2009 }))
  end)

  it('writes operands of different lengths', function()
    assert.equal('3 2 1 * 9 4||7 0 1 1 + 0 2 9 4 0 #### 7 2 0 6 0', write(3, { 0, 123 }, { 0, 49 }, 2))
    assert.equal('9 4 * 3 2 1||7 4 1 + 0 8 9 0 ( 7 2 1 1 ) + 0 0 9 4 0 #### 7 2 0 6 0',
      write(2, { 0, 49 }, { 0, 123 }, 3))
  end)

  it('is exact where a double is not', function()
    local nines = { 10 ^ 10 - 1, 10 ^ 10 - 1 } -- (10^20 - 1)^2 = 10^40 - 2 * 10^20 + 1
    local expected = '1' .. (' 0'):rep(19) .. ' 8' .. (' 9'):rep(19)
    assert.equal(expected, write(20, nines, nines):match('#### (.*)'))
    local ten_to_10 = { 1, 1 } -- (10^10 + 1)^2 = 10^20 + 2 * 10^10 + 1
    expected = '1' .. (' 0'):rep(9) .. ' 2' .. (' 0'):rep(9) .. ' 1 0'
    assert.equal(expected, write(11, ten_to_10, ten_to_10):match('#### (.*)'))
  end)

  it('makes right examples of every size', function()
    for digits = 2, 20 do
      local made = load { digits = digits, train = 50, valid = 10, test = 10 }
      local longest = 0
      for _, split in ipairs(dataset.splits) do
        assert.equal(split == 'train' and 50 or 10, made[split]:size())
        for i, line in ipairs(lines_of(made[split])) do
          local question, cot, answer = example_file.parse(line)
          assert.is_nil(multiplication.check(question, cot, answer))
          assert.equal(4 * digits + 1, #question)
          assert.equal(4 * digits - 1, #answer)
          local n_question, n_cot, n_answer = made[split]:lengths(i - 1)
          assert.equal(made.max_cot, n_cot)
          longest = math.max(longest, n_question + n_cot + n_answer + 4)
        end
      end
      assert.equal(longest, made.max_length)
      made:free()
    end
  end)

  local function digit_counts(line)
    local a, b = operands_of(line)
    return (#a + 1) / 2, (#b + 1) / 2
  end

  it('makes right examples of n x m digits, and of mixed lengths', function()
    for _, given in ipairs {
      { digits = { 5, 3 } }, { digits = { 2, 12 } }, { digits = { 20, 11 }, sparse = 40 },
      { digits = 4, digits_from = 2, sparse = 40 }, { digits = { 6, 3 }, digits_from = { 3, 2 } },
    } do
      given.train, given.valid, given.test = 200, 30, 30
      local made, lengths, longest_cot = load(given), {}, 0
      for _, split in ipairs(dataset.splits) do
        for i, line in ipairs(lines_of(made[split])) do
          local question, cot, answer = example_file.parse(line)
          assert.is_nil(multiplication.check(question, cot, answer))
          local n, m = digit_counts(line)
          lengths[n .. 'x' .. m] = true
          local _, n_cot, n_answer = made[split]:lengths(i - 1)
          assert.equal(n + m, n_answer)
          local steps = made[split]:steps(i - 1)
          assert.equal(m, #steps)
          assert.equal(n_cot, steps[m])
          longest_cot = math.max(longest_cot, n_cot)
        end
      end
      assert.equal(longest_cot, made.max_cot)
      local most = type(given.digits) == 'table' and given.digits or { given.digits, given.digits }
      local least = given.digits_from or most
      if type(least) ~= 'table' then least = { least, least } end
      local expected = {}
      for n = least[1], most[1] do
        for m = least[2], most[2] do expected[n .. 'x' .. m] = true end
      end
      assert.same(expected, lengths)
      made:free()
    end
  end)

  it('draws each length about equally often', function()
    local made, counts = load { digits = 6, digits_from = 3, train = 8000, valid = 0, test = 0 }, {}
    for _, line in ipairs(lines_of(made.train)) do
      local n, m = digit_counts(line)
      counts[n .. 'x' .. m] = (counts[n .. 'x' .. m] or 0) + 1
    end
    for n = 3, 6 do
      for m = 3, 6 do assert(math.abs(counts[n .. 'x' .. m] - 500) < 5 * math.sqrt(500), n .. 'x' .. m) end
    end
    made:free()
  end)

  it('can have all pairs of n x m and of mixed lengths', function()
    -- 990 numbers of two or three digits: 990 * 991 / 2 = 490,545 pairs when the two orders count as one
    local mixed = { digits = { 3, 3 }, digits_from = 2, train = 0, valid = 0, test = 490546 }
    assert_mentions(message_of(load, mixed), 'digits=[3,3], digits_from=2', 'only 490545')
    -- 990 x 90: of the 90 x 90 pairs of two digits each, 90 * 89 / 2 = 4,005 have their other order there too
    local part = { digits = { 3, 2 }, digits_from = { 2, 2 }, train = 0, valid = 0, test = 89100 - 4004 }
    assert_mentions(message_of(load, part), 'only 85095')
    local none = load { digits = { 3, 2 }, train = 81000 - 50, valid = 20, test = 30 }
    assert.equal(80950, none.train:size())
    none:free()
    assert_mentions(message_of(load, { digits = { 3, 2 }, train = 80951, valid = 20, test = 30 }), 'only 80950 pairs')
  end)

  it('shares no pair between splits of mixed lengths, in either order', function()
    local made = load { digits = 3, digits_from = 2, train = 60000, valid = 1000, test = 1000 }
    local held_out = {}
    for _, split in ipairs { 'test', 'valid', 'train' } do
      for _, line in ipairs(lines_of(made[split])) do
        local a, b = operands_of(line)
        assert.is_nil(held_out[a .. '*' .. b])
        if split ~= 'train' then held_out[a .. '*' .. b], held_out[b .. '*' .. a] = true, true end
      end
    end
    made:free()
  end)

  it('says what is wrong with lengths', function()
    assert_mentions(message_of(load, { digits = { 4, 3, 2 } }), 'digits: got 3 lengths, expected one or two')
    assert_mentions(message_of(load, { digits = { 4, 1 } }), 'digits[2]: got 1')
    assert_mentions(message_of(load, { digits = 4, digits_from = 5 }), 'digits_from=5 is more than digits=4')
    assert_mentions(message_of(load, { digits = { 4, 3 }, digits_from = { 2, 4 } }), 'digits_from=[2,4] is more')
  end)

  -- The longest carry chain of the additions in an example, from its text.
  local function chain_of(line)
    local cot, longest = line:match('||(.*) ####'), 0
    local terms = {}
    for term in (cot .. ' + '):gmatch('(.-) %+ ') do
      terms[#terms + 1] = { (term:gsub(' %(.*', '')), term:match('%( (.*) %)') }
    end
    local sum = terms[1][1]
    for i = 2, #terms do
      local run = 0
      for place = 1, #terms[i][1], 2 do
        local digits = (tonumber(sum:sub(place, place)) or 0) + tonumber(terms[i][1]:sub(place, place))
        run = digits > 9 and 1 or digits == 9 and run > 0 and run + 1 or 0
        longest = math.max(longest, run)
      end
      sum = terms[i][2]
    end
    return longest
  end

  it('adds splits out of distribution, and leaves the others as they are', function()
    local plain = { digits = 4, train = 3000, valid = 100, test = 100 }
    local given = { digits = 4, train = 3000, valid = 100, test = 100,
                    ood = { longer = { digits = { 6, 5 }, examples = 300 }, carries = { chain = 3, examples = 200 } } }
    local made, without = load(given), load(plain)
    assert.same({ 'longer', 'carries' }, made.ood)
    assert.same({ 'train', 'valid', 'test', 'longer', 'carries' }, made:splits())
    assert.same({ 300, 200 }, { made.longer:size(), made.carries:size() })
    for _, split in ipairs { 'valid', 'test' } do assert.equal(without[split]:digest(), made[split]:digest()) end
    assert.equal(46, made.max_cot)
    assert.equal(82, made.longest_cots.longer) -- 7 + … + 11 and 8 + 9 + 10 digits, 4 +, 3 pairs of ( )
    assert.equal(11, made.max_answer)
    assert.equal(12 + 82 + 11 + 4, made.max_length)

    local seen, rare = {}, 0
    for _, split in ipairs { 'test', 'valid', 'carries', 'train', 'longer' } do
      for _, line in ipairs(lines_of(made[split])) do
        assert.is_nil(multiplication.check(example_file.parse(line)))
        local a, b = operands_of(line)
        assert.is_nil(seen[a .. '*' .. b])
        seen[a .. '*' .. b] = true
        if split ~= 'train' then seen[b .. '*' .. a] = true end
        if split == 'carries' then assert(chain_of(line) >= 3) end
        if split == 'longer' then assert.same({ 6, 5 }, { digit_counts(line) }) end
        if split == 'train' and chain_of(line) >= 3 then rare = rare + 1 end
      end
    end
    assert(rare > 0.01 * 3000 and rare < 0.05 * 3000) -- 2.4 % of all pairs
    for _, split in ipairs(made:splits()) do
      local alone = load(given, split)
      assert.equal(made[split]:digest(), alone[split]:digest())
      alone:free()
    end
    made:free()
    without:free()
  end)

  it('groups examples by their longest carry chain', function()
    local made, seen = load { digits = { 6, 4 }, digits_from = 2, train = 0, valid = 0, test = 3000 }, {}
    for _, line in ipairs(lines_of(made.test)) do
      local question, _, answer = example_file.parse(line)
      local group = made.groups(question, answer)
      assert.equal(chain_of(line), group)
      seen[group] = true
    end
    assert.is_true(seen[0] and seen[1] and seen[2] and seen[3])
    -- 55 * 11 = 55 + 550: 5 + 0, 5 + 5 carries, 0 + 5 takes it in
    assert.equal(1, made.groups('5 5 * 1 1', ''))
    -- 99 * 11 = 99 + 990: 9 + 0, 9 + 9 carries, 0 + 9 passes it on
    assert.equal(2, made.groups('9 9 * 1 1', ''))
    assert.equal(0, made.groups('1 1 * 1 1', ''))
    made:free()
  end)

  it('says what is wrong with splits out of distribution', function()
    local function of(ood) return message_of(load, { digits = 3, digits_from = 2, train = 0, ood = ood }) end
    assert_mentions(of { longer = { examples = 3 } }, 'ood.longer: digits is missing')
    assert_mentions(of { carries = { examples = 3 } }, 'ood.carries: chain is missing')
    assert_mentions(of { longer = { digits = 3 } }, 'ood.longer: digits=3 has pairs that are trained on')
    assert_mentions(of { longer = { digits = { 4, 4 }, digits_from = 3 } }, 'has pairs that are trained on')
    assert_mentions(of { carries = { chain = 4, examples = 3 } }, 'a carry chain of 4 or more could not be found')
    assert_mentions(of { longr = { digits = 3 } }, 'ood.longr is not a known field; did you mean ood.longer?')
    assert_mentions(message_of(load, { digits = 3, train = 0, ood = { longer = { digits = 2, examples = 4096 } } }),
      'ood.longer: digits=2: 4096 examples, but only 4095')
    local all = load { digits = 3, train = 0, ood = { longer = { digits = 2, examples = 4095 } } }
    assert.equal(4095, all.longer:size())
    all:free()
    local mixed = load { digits = 4, train = 5, ood = { longer = { digits = { 6, 4 }, digits_from = { 5, 2 } } } }
    assert.equal(1000, mixed.longer:size())
    mixed:free()
  end)

  it('has the lengths of the paper', function()
    for digits, n_cot in pairs { [4] = 46, [9] = 246, [11] = 368 } do
      local made = load { digits = digits, train = 1, valid = 0, test = 0 }
      assert.equal(n_cot, made.max_cot)
      assert.equal(16, made.vocabulary.size)
      made:free()
    end
  end)

  it('shares no pair between splits, in either order, and repeats none', function()
    for _, given in ipairs {
      { digits = 2, train = 5910, valid = 100, test = 1000 }, -- all pairs but those held out, or mirrored
      { digits = 3, train = 20000, valid = 2000, test = 2000 },
      { digits = 4, train = 20000, valid = 1000, test = 1000 },
    } do
      local made = load(given)
      local held_out, seen = {}, {}
      for _, split in ipairs { 'test', 'valid' } do
        for _, line in ipairs(lines_of(made[split])) do
          local a, b = operands_of(line)
          assert.is_nil(held_out[a .. '*' .. b])
          held_out[a .. '*' .. b], held_out[b .. '*' .. a] = true, true
        end
      end
      for _, line in ipairs(lines_of(made.train)) do
        local a, b = operands_of(line)
        local key = a .. '*' .. b
        assert.is_nil(held_out[key])
        assert.is_nil(seen[key])
        seen[key] = true
      end
      made:free()
    end
  end)

  it('draws every digit about equally often', function()
    local made = load { digits = 12, train = 4000, valid = 0, test = 0 }
    local counts = {}
    for _, line in ipairs(lines_of(made.train)) do
      local a, b = operands_of(line)
      for _, operand in ipairs { a, b } do
        for place = 1, 12 do
          local key = operand:sub(2 * place - 1, 2 * place - 1) .. '@' .. place
          counts[key] = (counts[key] or 0) + 1
        end
      end
    end
    for place = 1, 12 do
      local first = place == 12 and 1 or 0 -- the highest digit is never 0
      local expected = 8000 / (10 - first)
      if first == 1 then assert.is_nil(counts['0@12']) end
      for digit = first, 9 do
        local sigmas = math.abs(counts[digit .. '@' .. place] - expected) / math.sqrt(expected)
        assert(sigmas < 5, ('digit %d at place %d: %.1f sigma'):format(digit, place, sigmas))
      end
    end
    made:free()
  end)

  it('adds sparse examples to the train split alone', function()
    for _, digits in ipairs { 3, 12 } do
      local plain = load { digits = digits, train = 500, valid = 300, test = 300 }
      local made = load { digits = digits, train = 500, valid = 300, test = 300, sparse = 4000, zeros = 0.4 }
      for _, split in ipairs { 'test', 'valid' } do assert.same(lines_of(plain[split]), lines_of(made[split])) end
      assert.equal(4500, made.train:size())

      local held_out, zeros, checked = {}, 0, 0
      for _, split in ipairs { 'test', 'valid' } do
        for _, line in ipairs(lines_of(made[split])) do
          local a, b = operands_of(line)
          held_out[a .. '*' .. b], held_out[b .. '*' .. a] = true, true
        end
      end
      for i, line in ipairs(lines_of(made.train)) do
        local a, b = operands_of(line)
        if i <= 500 then assert.equal(plain.train:text(i - 1), line) end
        if i > 500 then
          assert.is_nil(held_out[a .. '*' .. b])
          assert.equal(2 * digits - 1, #a)
          assert.not_equal('0', a:sub(-1))
          zeros = zeros + select(2, (a:sub(1, -2) .. b:sub(1, -2)):gsub('0', ''))
          checked = checked + 2 * (digits - 1)
        end
        assert.is_nil(multiplication.check(line:match('^(.-)||(.-) #### (.*)$')))
      end
      local expected = 0.4 + 0.6 * 0.1 -- cleared, or zero by chance
      assert(math.abs(zeros / checked - expected) < 5 * math.sqrt(expected * (1 - expected) / checked))
      plain:free()
      made:free()
    end
  end)

  -- The text of each step of an example, as its marks cut it.
  local function steps_of(corpus, index)
    local cot, steps, first = corpus:example(index).cot, {}, 1
    for i, last in ipairs(assert(corpus:steps(index))) do
      local ids = {}
      for k = first, last do ids[#ids + 1] = cot[k] end
      steps[i], first = corpus.vocabulary:decode_part(ids), last + 1
    end
    return steps
  end

  it('marks as steps the partial products, each with what follows it', function()
    local made = load { digits = 4, train = 20, valid = 3, test = 3, sparse = 5 }
    for _, split in ipairs(dataset.splits) do
      for i = 0, made[split]:size() - 1 do
        local steps = steps_of(made[split], i)
        assert.equal(4, #steps)
        assert.truthy(steps[1]:find('^' .. ('%d '):rep(5) .. '%+$'))
        assert.truthy(steps[2]:find('^' .. ('%d '):rep(6) .. '%( ' .. ('%d '):rep(6) .. '%) %+$'))
        assert.truthy(steps[3]:find('^' .. ('%d '):rep(7) .. '%( ' .. ('%d '):rep(7) .. '%) %+$'))
        assert.truthy(steps[4]:find('^' .. ('%d '):rep(7) .. '%d$'))
        assert.equal(made[split]:text(i):match('||(.*) ####'), table.concat(steps, ' '))
      end
    end
    made:free()
    local smallest = load { digits = 2, train = 0, valid = 0, test = 1 }
    assert.same({ 4, 8 }, smallest.test:steps(0))
    smallest:free()
  end)

  it('makes the examples that it always made', function()
    for given, digests in pairs {
      [{ digits = 3, train = 2000, valid = 100, test = 100, sparse = 500 }] =
        'cc38446987087844 1f9872121021d430 1797e186060bffb3',
      [{ digits = 4, train = 3000, valid = 100, test = 100 }] = '71bf69efa17f1903 4568b7e11f7585b9 33487a1a2ed6590f',
      [{ digits = 12, train = 300, valid = 20, test = 20, seed = 7, sparse = 100 }] =
        'b91cdb181747dd20 e498f3386274d4d8 1ac21a7033b55ac5',
    } do
      local made = load(given)
      assert.equal(digests, made:digest())
      made:free()
    end
  end)

  it('keeps sparse examples off all pairs that are held out', function()
    local pairs_of, shape = require 'datasets.multiplication.pairs', require 'datasets.multiplication.shape'
    local drawn = pairs_of.draw(shape.of(3), 5, { test = 40, valid = 20, carries = 4, train = 50 }, 2)
    for i = 0, drawn.count - 1 do assert.equal(i < 64, drawn:is_held_out(drawn:operands(i))) end
  end)

  it('says so when all sparse pairs are held out', function()
    local message = expect.user_error(load, { digits = 2, train = 0, valid = 2050, test = 2045, sparse = 1, zeros = 1 })
    assert_mentions(message, 'zeros=1 are held out')
  end)

  it('is the same for the same seed, and other for another', function()
    local one = load { digits = 5, train = 300, valid = 20, test = 20, seed = 3 }
    local same = load { digits = 5, train = 300, valid = 20, test = 20, seed = 3 }
    local other = load { digits = 5, train = 300, valid = 20, test = 20, seed = 4 }
    for _, split in ipairs(dataset.splits) do
      assert.same(lines_of(one[split]), lines_of(same[split]))
      assert.is_not.same(lines_of(one[split]), lines_of(other[split]))
    end
    -- on any machine, in any version
    assert.equal('9 0 1 5 * 0 5 5 4', (load { digits = 4, train = 0 }.test:text(0):match('^(.-)||')))
  end)

  it('holds out the same pairs however many are trained on', function()
    local small = load { digits = 3, train = 100, valid = 50, test = 50 }
    local large = load { digits = 3, train = 30000, valid = 50, test = 50 }
    assert.same(lines_of(small.test), lines_of(large.test))
    assert.same(lines_of(small.valid), lines_of(large.valid))
    for i = 0, 99 do assert.equal(small.train:text(i), large.train:text(i)) end
  end)

  it('loads one split alone as it is beside the others', function()
    local given = { digits = 3, train = 200, valid = 60, test = 50 }
    local whole = load(given)
    for _, split in ipairs(dataset.splits) do
      local alone = load(given, split)
      assert.same(lines_of(whole[split]), lines_of(alone[split]))
      for _, other in ipairs(dataset.splits) do
        if other ~= split then assert.equal(0, alone[other]:size()) end
      end
    end
  end)

  it('says how many pairs there are when asked for more', function()
    assert_mentions(message_of(load, { digits = 2, train = 0, valid = 96, test = 4000 }), '4096 pairs', 'only 4095')
    local held_out = { digits = 2, train = 0, valid = 95, test = 4000 }
    local all = load(held_out)
    assert.same({ 4000, 95 }, { all.test:size(), all.valid:size() })
    held_out.train = 1
    assert_mentions(message_of(load, held_out), 'only 0 pairs are left')
    assert_mentions(message_of(load, { digits = 2, train = 8101, valid = 0, test = 0 }), 'train=8101', 'only 8100')
    assert.equal(8100, load({ digits = 2, train = 8100, valid = 0, test = 0 }).train:size())
  end)

  it('is ready quickly, and small', function()
    local started = os.clock()
    local made = load { digits = 9, train = 80800 }
    assert.is_true(os.clock() - started < 6) -- a tenth of what must take less than a minute
    assert.is_true(made.train:bytes() < 80800 * 320)
    made:free()
  end)

  it('finds every single change of a line', function()
    local line = write(3, { 0, 307 }, { 0, 586 })
    assert.is_nil(multiplication.check(example_file.parse(line)))
    local function assert_found(changed)
      local question, cot, answer = example_file.parse(changed)
      assert(not question or multiplication.check(question, cot, answer), 'not found: ' .. changed)
    end
    for at = 1, #line do
      local before, byte, after = line:sub(1, at - 1), line:sub(at, at), line:sub(at + 1)
      assert_found(before .. after)
      for other in ('0123456789 *+()|#x\0\r\t'):gmatch('.') do
        if other ~= byte then assert_found(before .. other .. after) end
        local inserted = before .. other .. byte .. after
        if inserted ~= line then assert_found(inserted) end
      end
    end
  end)

  it('says what is wrong with an example', function()
    local check = multiplication.check
    local cot, answer = '6 7 0 + 0 7 5 0', '6 4 6 0'
    assert.is_nil(check('9 1 * 4 3', cot, answer))
    assert.equal("CoT: word 2 is '8', expected '7'", check('9 1 * 4 3', '6 8 0 + 0 7 5 0', answer))
    assert.equal("CoT: has 7 words, expected 8", check('9 1 * 4 3', '6 7 0 + 0 7 5', answer))
    assert.equal("answer: word 4 is '1', expected '0'", check('9 1 * 4 3', cot, '6 4 6 1'))
    assert.equal("answer: has 5 words, expected 4", check('9 1 * 4 3', cot, '6 4 6 0 0'))
    assert_mentions(check('9 1 * 4 4', cot, answer), 'CoT: word', '; answer: word')
    assert_mentions(check('9 1 4 3', cot, answer), "no '*'")
    assert_mentions(check('9 1 * 4', cot, answer), '2 and 1 digits')
    assert_mentions(check('9 x * 4 3', cot, answer), "word 2 is 'x'")
    assert_mentions(check('9 1 * 4 0', cot, answer), 'highest, is 0')
    assert_mentions(check('9 * 4', '6 3', '6 3'), '1 digits, expected 2 to 20')
    assert_mentions(check('How many?', '', '3'), "no '*'")
  end)
end)

describe('pairs of other lengths', function()
  it('a longer pair is there in one order only', function()
    local pairs_of, shape = require 'datasets.multiplication.pairs', require 'datasets.multiplication.shape'
    local drawn, seen = pairs_of.draw_longer(shape.of(2), 1, 2000), {}
    for i = 0, 1999 do
      local _, a, _, b = drawn:operands(i)
      assert.is_nil(seen[b .. '*' .. a])
      seen[a .. '*' .. b], seen[b .. '*' .. a] = true, true
    end
  end)
end)
