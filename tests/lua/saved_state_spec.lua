--- What a checkpoint says of a training beside its tensors: all of it comes back.
local json = require 'icot.base.json'
local schedule = require 'icot.schedule'
local small = require 'tests.lua.support.small_training'
local temporary = require 'tests.lua.support.temporary'
local training = require 'icot.training'
local saved_state = require 'icot.training.saved_state'

-- All that is not a tensor, but the seconds, which go on.
local function plain(self)
  local meter = self.meter:state()
  meter.seconds = nil
  return {
    state = self.state, planned = self.planned, evaluated = self.evaluated, cot_was_left = self.cot_was_left,
    last_reset = self.last_reset, explicit_accuracy = self.explicit_accuracy, test_accuracy = self.test_accuracy,
    lr_scale = self.lr_scale, skipped = self.skipped, collapse = self.collapse, meter = meter,
    updates = self.optimizer.updates, updates_sq = self.optimizer.updates_sq,
  }
end

describe('the state of a training', function()
  after_each(temporary.clean)

  it('is the same when it was saved and restored', function()
    local run = small.run { optimizer = ", reset = 'second'" }
    local before, after = training.new(run), training.new(run)
    for step = 0, 5 do before:update(step < 3 and 0 or 1) end
    before.evaluated = { valid = 6, test = 4 }
    schedule.note_validation(before.state, { accuracy = 0.25, loss = 1.5 })
    before.state.own, before.planned = { waited = 2 }, 2
    before.explicit_accuracy, before.test_accuracy, before.lr_scale, before.skipped = 0.75, 0.125, 0.5, 3
    before.collapse = { was_above = true, count = 2 }

    saved_state.restore(after, json.decode(json.encode(saved_state.capture(before))))
    local expected, found = plain(before), plain(after)
    before:free()
    after:free()
    assert.is_not_nil(expected.last_reset)
    assert.is_true(expected.updates ~= expected.updates_sq)
    assert.same(expected, found)
  end)
end)
