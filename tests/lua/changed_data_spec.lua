--- Examples that come from files, which may change while the recipe stays as it is.
local checkpoint = require 'icot.saved.checkpoint'
local expect = require 'tests.lua.support.expect'
local files = require 'icot.base.files'
local run_paths = require 'icot.results.run_paths'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'

local folder

-- Examples whose answers are moved by `shift`; the symbols stay the same, and no two splits share a question.
local first_symbol = { train = 1, valid = 2, test = 3 }
local function write_examples(name, count, shift)
  local lines = {}
  for i = 0, count - 1 do
    local a, b = i % 10, math.floor(i / 10) % 10
    lines[#lines + 1] = ('%d %d %d||%d %d %d %d #### %d'):format(first_symbol[name], a, b, a, b, b, a,
                                                                  (a + b + shift) % 10)
  end
  temporary.write(('%s/%s.txt'):format(folder, name), table.concat(lines, '\n') .. '\n')
end

local function settings_with(...)
  local settings = { 'dataset.task=text', 'checkpoint.keep.stages=all', ... }
  for _, split in ipairs { 'train', 'valid', 'test' } do
    table.insert(settings, ('dataset.%s=%s/%s.txt'):format(split, folder, split))
  end
  return settings
end

local function train(options, ...)
  return small.train({ folder = folder, settings = settings_with(...) }, options)
end

before_each(function()
  folder = temporary.folder()
  write_examples('train', 100, 0)
  write_examples('valid', 40, 0)
  write_examples('test', 30, 0)
end)
after_each(temporary.clean)

describe('a run whose examples are others now', function()
  it('is not taken for one that has finished', function()
    local ok, result = train()
    assert.is_true(ok, tostring(result))
    assert(train { resume = true })
    write_examples('test', 30, 3)
    local refused, problem = train { resume = true }
    assert.is_false(refused)
    expect.mentions(problem.message, 'dataset: its examples are not those', '--allow-changes')
  end)

  it('needs them no more once it has finished', function()
    assert(train())
    os.remove(folder .. '/test.txt')
    local ok, result = train { resume = true }
    assert.is_true(ok, tostring(result))
  end)

  it('is evaluated anew if that is allowed, and its run file tells why', function()
    local ok, result, path = train()
    assert.is_true(ok, tostring(result))
    local before = small.read(path).tables
    write_examples('valid', 40, 5)
    write_examples('test', 30, 5)
    local resumed, again = train { resume = true, allow_changes = true }
    assert.is_true(resumed, tostring(again))
    local after = small.read(path).tables
    assert.equal('dataset: other examples, from the same options', small.column(after.segments, 'changes')[2])
    local steps = small.column(after.eval, 'step')
    assert.equal(#before.eval.rows + 2, #steps) -- valid and test once more, at the end
    assert.equal(40, steps[#steps])
  end)

  it('asks its schedule anew in the middle', function()
    local ok, result, path = train()
    assert.is_true(ok, tostring(result))
    for _, each in ipairs(checkpoint.list(run_paths.checkpoint_folder(path))) do
      if each.step > 16 then files.remove_tree(each.path) end
    end
    write_examples('valid', 40, 5)
    local resumed, again = train { resume = true, allow_changes = true }
    assert.is_true(resumed, tostring(again))
    expect.mentions(small.column(small.read(path).tables.segments, 'changes')[2], 'dataset: other examples')
  end)

  it('tells as a fork that they are others', function()
    local ok, result, path = train()
    assert.is_true(ok, tostring(result))
    local at = checkpoint.path(run_paths.checkpoint_folder(path), 16)
    write_examples('train', 100, 2)
    local forked_ok, forked, forked_path = small.train { settings = settings_with('fork_from=' .. at) }
    assert.is_true(forked_ok, tostring(forked))
    expect.mentions(small.column(small.read(forked_path).tables.segments, 'changes')[2], 'fork_from: ',
                    'dataset: other examples')
  end)
end)
