-- Executes the notebook on runs that were made up, and compares what it read with what was written.
local json = require 'icot.json'
local lfs = require 'lfs'
local python = require 'tests.lua.support.python'
local runlog = require 'icot.runlog'
local sample_run = require 'tests.lua.support.sample_run'
local temporary = require 'tests.lua.support.temporary'

local function execute(path, expression)
  return python.json_of('tests/notebooks/execute.py', 'recipes/notebooks/read_a_run.ipynb', path, expression)
end

local function assert_alike(expected, found)
  if type(expected) == 'number' then
    assert.near(expected, found, 1e-9 * math.max(1, math.abs(expected)))
  else
    assert.equal(expected, found)
  end
end

describe('the notebook', function()
  local folder
  before_each(function() folder = temporary.folder() end)
  after_each(temporary.clean)

  it('reads and draws a study', function()
    local path, written = sample_run.write_study(folder)
    local found = execute(path, [[{
      "summary": json.loads(summary.to_json(orient="records", double_precision=15)),
      "spread": json.loads(spread.to_json(orient="index", double_precision=15)),
      "arms": {arm: len(members) for arm, members in arms.items()}, "chosen": chosen}]])
    assert.equal(3, found.images)
    assert.equal(#written, #found.value.summary)
    for i, row in ipairs(written) do
      for name, value in pairs(row) do assert_alike(value, found.value.summary[i][name]) end
    end
    assert.same({ no_cot = 2, explicit_cot = 2, icot = 2 }, found.value.arms)
    assert_alike((written[5].accuracy + written[6].accuracy) / 2, found.value.spread.icot.accuracy)
    assert.equal('icot-1', found.value.chosen)
  end)

  it('reads and draws a single run', function()
    local path = folder .. '/alone.h5'
    local written = sample_run.write(path, { seed = 3 })
    local found = execute(path, [[{
      "summary": json.loads(summary.to_json(orient="records", double_precision=15)),
      "loss": list(runs["alone"]["train"]["loss"]), "positions": runs["alone"]["positions"][-1].tolist(),
      "samples": len(runs["alone"]["samples"])}]])
    assert.equal(3, found.images)
    local row, last = found.value.summary[1], written.eval[#written.eval]
    assert.equal(1, #found.value.summary)
    assert.same({ 'alone', 3, 'icot', 'finished' }, { row.arm, row.seed, row.method, row.status })
    assert_alike(last.accuracy, row.accuracy)
    assert_alike(last.removed, row.removed)
    assert.equal(#written.train, #found.value.loss)
    for i, train in ipairs(written.train) do assert_alike(train.loss, found.value.loss[i]) end
    for i, accuracy in ipairs(written.positions[#written.positions]) do
      assert_alike(accuracy, found.value.positions[i])
    end
    assert.equal(#written.eval, found.value.samples)
  end)

  it('reads a run that has just begun', function()
    local log = runlog.create { path = folder .. '/new.h5', recipe = 'new', seed = 1, answer_length = 4 }
    local found = execute(log.path, 'runs["new"]["attributes"]["end_state"]')
    assert.equal('running', found.value)
    assert.equal(2, found.images) -- no evaluation, no picture of positions
    log:close('finished')
  end)

  it('finds a run by its path from the root of the repository', function()
    local log = runlog.create { path = folder .. '/new.h5', recipe = 'new', seed = 1, answer_length = 4 }
    local _, depth = lfs.currentdir():gsub('/[^/]+', '')
    local found = execute(('../'):rep(depth) .. log.path:sub(2), 'runs["new"]["attributes"]["end_state"]')
    assert.same({ nil, 'running' }, { found.error, found.value })
    log:close('finished')
  end)

  it('says which file is missing', function()
    local found = execute(folder .. '/none.h5', '1')
    assert.truthy(found.error:find('^FileNotFoundError: .*/none%.h5'), found.error)
  end)

  it('is stored without outputs, in a form that differs little when it is edited', function()
    local file = assert(io.open('recipes/notebooks/read_a_run.ipynb'))
    local text = file:read('*a')
    file:close()
    for _, cell in ipairs(assert(json.decode(text)).cells) do
      assert.equal(0, #(cell.outputs or {}))
      assert.truthy(cell.id)
    end
    assert.equal('{\n "cells": [\n', text:sub(1, 14))
  end)
end)
