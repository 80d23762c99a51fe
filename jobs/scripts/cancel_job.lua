-- CANCEL_JOB: one line takes no more device time.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
-- Arguments: batch id, idx.
-- Effects: the line is noted; its job becomes a `cancelled` row in TAKE, or when its worker renews.
-- Replies: 1; 0 if the line has a result or the batch takes none.
-- Invariants: a line that has a row keeps it (I1); no other line is touched.
local bid, idx = ARGV[1], ARGV[2]
local state = redis.call('HGET', batch_key(bid), 'state')
if state ~= 'in_progress' and state ~= 'cancelling' then return 0 end
if redis.call('GETBIT', bitmap_key(bid), idx) == 1 then return 0 end
redis.call('SADD', cancels_key(bid), idx)
return 1
