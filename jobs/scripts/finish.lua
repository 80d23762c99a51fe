-- FINISH: the results of a batch are where its sink wants them.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
-- Arguments: batch id, retention_ms.
-- Effects: finalizing -> completed | cancelled | expired, if the outbox is empty or the sink is
--   redis. A batch is expired if its own time was over, not if only jobs' were. The job keys go; what
--   remains expires after retention_ms.
-- Replies: the state after the call; nil for an unknown batch.
-- Invariants: may be called at any time, by anybody, again.
local bid = ARGV[1]
local B = batch_key(bid)
local h = redis.call('HMGET', B, 'state', 'was', 'expired', 'sink', 'expires_at', 'finalizing_at')
if h[1] ~= 'finalizing' then return h[1] end
if h[4] ~= 'redis' and redis.call('XLEN', outbox_key(bid)) > 0 then return h[1] end

local state = 'completed'
if h[2] == 'cancelling' then state = 'cancelled'
elseif tonumber(h[3]) > 0 and h[5] and tonumber(h[5]) <= tonumber(h[6]) then state = 'expired' end
drop_jobs(bid)
redis.call('HSET', B, 'state', state, 'final_at', now_ms())
redis.call('SREM', FINALIZING, bid)
redis.call('SREM', ACTIVE, bid)
for _, key in ipairs({B, bitmap_key(bid), outbox_key(bid)}) do
  redis.call('PEXPIRE', key, ARGV[2])
end
return state
