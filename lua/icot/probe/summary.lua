--- What the probes of a run come to: for each stage and group of quantities, how well the trained model's states tell
--- them where training has made the most difference, and how well the controls' do at the same places. (The place is
--- chosen on the same held-out examples: of a hundred probes that tell nothing the best is some percent above chance.)
local summary = {}

---@class icot.probe.Summary a group of quantities in one stage; accuracies are means over them
---@field step integer
---@field removed integer
---@field group string 'partial product 2': what their names have before the first comma
---@field quantities integer
---@field accuracy number each at the layer and place where it is the most above the untrained model's
---@field untrained number the same layers and places
---@field shuffled number likewise
---@field no_cot number? likewise, of those places that its sequences have; nil: none, or there is no such control
---@field baseline number
---@field clearest icot.ProbeRow the one with the most above the untrained model's, of all of the group

-- All rows by what they are of; those of no_cot are of no stage.
local function index(rows)
  local found = {}
  for _, row in ipairs(rows) do
    local step = row.control == 'no_cot' and 'any' or row.step
    found[table.concat({ row.control, step, row.layer, row.place, row.quantity }, '|')] = row
  end
  return function(control, row)
    local step = control == 'no_cot' and 'any' or row.step
    return found[table.concat({ control, step, row.layer, row.place, row.quantity }, '|')]
  end
end

-- For each stage and quantity, in the order of the rows, the row with the largest gain over the untrained model.
local function best_rows(rows, control_of)
  local best, order = {}, {}
  for _, row in ipairs(rows) do
    if row.control == 'none' then
      local key = row.step .. '|' .. row.quantity
      local gain = row.accuracy - control_of('untrained', row).accuracy
      if not best[key] then order[#order + 1] = key end
      if not best[key] or gain > best[key].gain then best[key] = { row = row, gain = gain } end
    end
  end
  local list = {}
  for i, key in ipairs(order) do list[i] = best[key] end
  return list
end

local function mean(list)
  local sum = 0
  for _, value in ipairs(list) do sum = sum + value end
  return #list > 0 and sum / #list or nil
end

local CONTROLS = { 'untrained', 'shuffled', 'no_cot' }

local function sum_up(members, group, control_of)
  local first, clearest = members[1].row, members[1]
  local values = { accuracy = {}, baseline = {}, untrained = {}, shuffled = {}, no_cot = {} }
  for _, each in ipairs(members) do
    table.insert(values.accuracy, each.row.accuracy)
    table.insert(values.baseline, each.row.baseline)
    for _, control in ipairs(CONTROLS) do
      local row = control_of(control, each.row)
      if row then table.insert(values[control], row.accuracy) end
    end
    if each.gain > clearest.gain then clearest = each end
  end
  local line = { step = first.step, removed = first.removed, group = group, quantities = #members,
                 clearest = clearest.row }
  for name, list in pairs(values) do line[name] = mean(list) end
  return line
end

--- Sums up the rows of /probes.
---@param rows icot.ProbeRow[]
---@return icot.probe.Summary[] in the order of the rows
function summary.of(rows)
  local control_of, groups, order = index(rows), {}, {}
  for _, each in ipairs(best_rows(rows, control_of)) do
    local group = each.row.quantity:match('^[^,]*')
    local key = each.row.step .. '|' .. group
    if not groups[key] then
      groups[key] = { group = group }
      order[#order + 1] = groups[key]
    end
    table.insert(groups[key], each)
  end
  local lines = {}
  for i, members in ipairs(order) do lines[i] = sum_up(members, members.group, control_of) end
  return lines
end

return summary
