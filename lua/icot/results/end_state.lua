--- How a run has ended: 'finished' and 'collapsed' by itself; 'interrupted' and 'failed' before that.
local end_state = {}

--- Whether a run came to its end, wherever that was, and was not broken off.
---@param status string?
---@return boolean
function end_state.is_over(status)
  return status == 'finished' or status == 'collapsed'
end

return end_state
