--- icot.training.progress: what is written, when, and how wide; and icot.base.terminal.
local amounts = require 'icot.base.amounts'
local progress = require 'icot.training.progress'
local terminal = require 'icot.base.terminal'

-- A progress display on a stream and a clock of our own.
local function display(options)
  local written, now = {}, 0
  local stream = {
    write = function(_, ...) for _, text in ipairs { ... } do written[#written + 1] = text end end,
    flush = function() end,
  }
  local shown = progress.new {
    label = 'icot seed 1', total_steps = 100, stream = stream, quiet = options.quiet,
    columns = function() return options.columns end, clock = function() return now end,
  }
  local function wait(seconds) now = now + seconds end
  local function text() return table.concat(written) end
  return shown, wait, text
end

local state = { step = 10, removed = 3, loss = 0.51234, accuracy = 0.98, tokens_per_second = 12345 }

local function lines_of(text)
  local lines = {}
  for line in text:gmatch('([^\n]*)\n') do lines[#lines + 1] = line end
  return lines
end

describe('progress on a terminal', function()
  it('rewrites one line in place', function()
    local shown, wait, text = display { columns = 120 }
    shown:update { step = 0 }
    wait(10)
    shown:update(state)
    assert.equal('\ricot seed 1  step 0/100\27[K'
      .. '\ricot seed 1  step 10/100  removed 3  loss 0.5123  accuracy 0.980  12.3k tokens/s  1m30s left\27[K', text())
  end)

  it('fits the width, dropping what matters least first', function()
    for columns = 5, 100 do
      local shown, wait, text = display { columns = columns }
      shown:update { step = 0 }
      wait(10)
      shown:update(state)
      for line in text():gmatch('\r([^\r\27]*)') do assert.is_true(#line < columns, columns .. ': ' .. line) end
    end
    local shown, _, text = display { columns = 60 }
    shown:update(state)
    assert.equal('\ricot seed 1  step 10/100  removed 3  accuracy 0.980\27[K', text())
  end)

  it('draws at most five times a second', function()
    local shown, wait, text = display { columns = 80 }
    for step = 1, 100 do
      shown:update { step = step }
      wait(0.01)
    end
    local _, drawings = text():gsub('\r', '')
    assert.equal(5, drawings)
  end)

  it('writes notes above the line', function()
    local shown, _, text = display { columns = 40 }
    shown:update { step = 1 }
    shown:note('valid:\naccuracy 0.5')
    assert.matches('\r\27[Kicot seed 1  valid:?accuracy 0.5\n\ricot seed 1  step 1/100\27[K', text(), 1, true)
  end)

  it('ends with a line break', function()
    local shown, _, text = display { columns = 40 }
    shown:update { step = 1 }
    shown:finish()
    assert.equal('\n', text():sub(-1))
  end)
end)

describe('progress elsewhere', function()
  it('writes plain lines, further and further apart', function()
    local shown, wait, text = display {}
    for step = 1, 100 do
      wait(100)
      shown:update { step = step }
    end
    assert.is_nil(text():find('[\r\27]'))
    local first, lines = lines_of(text())[1], lines_of(text())
    assert.equal('icot seed 1  step 1/100', first)
    assert.is_true(#lines > 20 and #lines < 60, #lines .. ' lines')
  end)

  it('writes nothing in the first seconds but notes and the end', function()
    local shown, wait, text = display {}
    shown:update { step = 1 }
    wait(1)
    shown:update { step = 2 }
    shown:note('reset')
    shown:finish()
    assert.same({ 'icot seed 1  reset', 'icot seed 1  step 2/100  1m38s left' }, lines_of(text()))
  end)

  it('ends once, with what a note has said of the accuracy', function()
    local shown, _, text = display {}
    shown:update { step = 1, accuracy = 0.25 }
    shown:note('valid', { accuracy = 0.5 })
    shown:finish()
    shown:finish()
    assert.same({ 'icot seed 1  valid', 'icot seed 1  step 1/100  accuracy 0.500' }, lines_of(text()))
  end)

  it('writes each line in one piece, so that nothing else falls into it', function()
    local pieces = {}
    local stream = { write = function(_, ...) pieces[#pieces + 1] = { ... } end, flush = function() end }
    local shown = progress.new { label = 'icot seed 1', total_steps = 2, stream = stream, columns = function() end }
    shown:update { step = 1 }
    shown:note('valid')
    shown:finish()
    terminal.tell('a word', stream)
    assert.same({ { 'icot seed 1  valid\n' }, { 'icot seed 1  step 1/2\n' }, { 'icot: a word\n' } }, pieces)
  end)

  it('is silent when it should be', function()
    local shown, wait, text = display { quiet = true }
    wait(100)
    shown:update(state)
    shown:note('reset')
    shown:finish()
    assert.equal('', text())
  end)

  it('writes nothing at the end of a run that never began', function()
    local shown, _, text = display {}
    shown:finish()
    assert.equal('', text())
  end)
end)

describe('numbers for people', function()
  it('are durations', function()
    for seconds, text in pairs {
      [0] = '0s', [59.4] = '59s', [59.6] = '1m00s', [185] = '3m05s', [7620] = '2h07m', [273600] = '3d04h',
    } do
      assert.equal(text, amounts.duration(seconds))
    end
  end)

  it('are counts', function()
    for count, text in pairs {
      [0] = '0', [950] = '950', [15.75] = '15.8', [950.9] = '951', [999.6] = '1.00k', [9999] = '10.0k',
      [12345] = '12.3k', [456e4] = '4.56M', [7.891e9] = '7.89G',
    } do
      assert.equal(text, amounts.count(count))
    end
  end)
end)

describe('terminal', function()
  it('colours only when asked to', function()
    assert.equal('\27[1mx\27[0m', terminal.bold('x', true))
    assert.equal('x', terminal.bold('x', false))
  end)

  it('is none outside the program', function()
    assert.is_nil(terminal.columns(io.stdout))
    assert.is_false(terminal.has_color(io.stderr))
  end)
end)
