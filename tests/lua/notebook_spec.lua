-- Executes the notebooks on files that were made up, and compares what they read with what was written.
local json = require 'icot.base.json'
local lfs = require 'lfs'
local python = require 'tests.lua.support.python'
local runlog = require 'icot.results.runlog'
local sample_probes = require 'tests.lua.support.sample_probes'
local sample_run = require 'tests.lua.support.sample_run'
local temporary = require 'tests.lua.support.temporary'

local function executor(name)
  return function(path, expression)
    return python.json_of('tests/notebooks/execute.py', ('recipes/notebooks/%s.ipynb'):format(name), path, expression)
  end
end

local function assert_alike(expected, found)
  if type(expected) == 'number' then
    assert.near(expected, found, 1e-9 * math.max(1, math.abs(expected)))
  else
    assert.equal(expected, found)
  end
end

describe('the notebook read_a_run', function()
  local folder, execute = nil, executor 'read_a_run'
  before_each(function() folder = temporary.folder() end)
  after_each(temporary.clean)

  it('reads and draws a study', function()
    local path, written = sample_run.write_study(folder)
    local found = execute(path, [[{
      "summary": json.loads(summary.to_json(orient="records", double_precision=15)),
      "spread": json.loads(spread.to_json(orient="index", double_precision=15)),
      "arms": {arm: len(members) for arm, members in arms.items()}, "chosen": chosen,
      "mean": list(curves["icot"][0]), "half": list(curves["icot"][1]), "curves": list(curves),
      "ends": [list(evaluations(run).groupby("removed")["accuracy"].last()) for run in arms["icot"] ]}]])
    assert.equal(4, found.images)
    assert.equal(#written, #found.value.summary)
    for i, row in ipairs(written) do
      for name, value in pairs(row) do assert_alike(value, found.value.summary[i][name]) end
    end
    assert.same({ no_cot = 2, explicit_cot = 2, icot = 2 }, found.value.arms)
    assert_alike((written[5].accuracy + written[6].accuracy) / 2, found.value.spread.icot.accuracy)
    assert.equal('icot-1', found.value.chosen)

    -- of two runs the interval is t(0.975, 1) = 12.706 times half their difference on both sides
    assert.same({ 'icot' }, found.value.curves)
    local one, other = unpack(found.value.ends)
    assert.is_true(#one > 2)
    for i = 1, #one do
      assert_alike((one[i] + other[i]) / 2, found.value.mean[i])
      assert_alike(12.706 * math.abs(one[i] - other[i]) / 2, found.value.half[i])
    end
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
end)

describe('the notebook look_inside', function()
  local folder, execute = nil, executor 'look_inside'
  before_each(function() folder = temporary.folder() end)
  after_each(temporary.clean)

  it('puts controls beside each other, and draws stages, places and attention', function()
    local path = folder .. '/sample.probes.h5'
    local written = sample_probes.write(path, { no_cot = true, attention = true })
    local found = execute(path, [[{
      "probes": len(probes), "table": json.loads(table.to_json(orient="records", double_precision=15)),
      "best": json.loads(best.to_json(orient="records", double_precision=15)), "stages": stages.tolist(),
      "weights": attention(300, 4)[0].tolist(), "tokens": attention(300, 4)[1]}]])
    assert.is_nil(found.error)
    assert.equal(5, found.images) -- maps and attention of two stages each, all stages
    local value = found.value
    assert.same({ #written.rows, 100, 300 }, { value.probes, value.stages[1], value.stages[2] })
    assert.equal(2 * (8 + 6) * 3, #value.table)
    for _, row in ipairs(value.table) do
      local layer, position = row.layer, row.position
      assert_alike(layer == 0 and 0.2 or 0.3 + 0.08 * position, row.none)
      assert_alike(row.none - (0.2 + 0.02 * layer * position), row.gain)
      assert.equal(0.1, row.shuffled)
      if row.place:find('^CoT %d') then
        assert.is_false(type(row.no_cot) == 'number') -- its sequences have no such place
      elseif row.step == 300 then
        assert_alike(0.25 + 0.01 * position, row.no_cot)
      end
    end
    assert.equal(6, #value.best) -- stages, quantities
    for _, row in ipairs(value.best) do assert.same({ 1, 'answer <eos>' }, { row.layer, row.place }) end
    assert.same({ 'sum 1', 'product' }, { value.best[1].group, value.best[3].group })
    assert.same({ '7', '<eos>' }, { value.tokens[1], value.tokens[6] })
    assert.near(1 / 3, value.weights[1][2][3][1], 1e-7)
    assert.equal(0, value.weights[1][2][3][4])
    assert.same({ 1, 2, 6, 6 }, { #value.weights, #value.weights[1], #value.weights[1][1], #value.weights[1][1][1] })
  end)

  it('draws a single stage without controls of other runs, and without attention', function()
    local path = folder .. '/single.probes.h5'
    sample_probes.write(path, { stages = 1 })
    local found = execute(path, '[len(rows), int(table["no_cot"].notna().sum()), about["end_state"]]')
    assert.is_nil(found.error)
    assert.equal(2, found.images)
    assert.same({ 0, 0, 'finished' }, found.value)
  end)
end)

describe('a notebook', function()
  it('is stored without outputs, in a form that differs little when it is edited', function()
    for _, name in ipairs { 'read_a_run', 'look_inside' } do
      local file = assert(io.open(('recipes/notebooks/%s.ipynb'):format(name)))
      local text = file:read('*a')
      file:close()
      for _, cell in ipairs(assert(json.decode(text)).cells) do
        assert.equal(0, #(cell.outputs or {}))
        assert.truthy(cell.id)
      end
      assert.equal('{\n "cells": [\n', text:sub(1, 14))
    end
  end)
end)
