-- CANCEL: the batch takes no more device time.
--@include _keys.lua
-- Arguments: batch id.
-- Effects: in_progress -> cancelling. Waiting jobs become rows in TAKE or SWEEP, running ones when
--   their worker renews.
-- Replies: the state after the call; nil for an unknown batch. Other states stay as they are.
-- Invariants: rows that were recorded before stay as they are (I1). May be called again.
local B = batch_key(ARGV[1])
local state = redis.call('HGET', B, 'state')
if state ~= 'in_progress' then return state end
redis.call('HSET', B, 'state', 'cancelling', 'cancelling_at', now_ms())
return 'cancelling'
