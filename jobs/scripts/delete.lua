-- DELETE: forgets a batch in whatever state it is. Leases on its jobs are gone.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
-- Arguments: batch id.
-- Effects: every key of the batch goes, and its share of the backlog, also if its hash is gone
--   already or is none.
-- Replies: 1 if there was such a batch.
-- Invariants: the backlog counts exactly what the other batches have left; dead letters stay.
local bid = ARGV[1]
local B = batch_key(bid)
local existed = redis.call('EXISTS', B)
if type_of(B) == 'hash' then drop_jobs(bid) else drop_orphans(bid) end
redis.call('DEL', B, bitmap_key(bid), outbox_key(bid))
redis.call('ZREM', BATCHES, bid)
for _, set in ipairs({ACTIVE, FINALIZING, BROKEN}) do redis.call('SREM', set, bid) end
return existed
