-- CREATE: announces a batch.
--@include _keys.lua
-- Arguments: batch id, a random epoch, then field, value, ... of the batch hash.
-- Effects: the hash in state in_progress; the batch in `batches` and `active`; the epoch if none.
-- Replies: 1, or 0 if the batch exists already (nothing is changed then).
-- Invariants: a batch id names one batch for as long as its hash lives.
local bid = ARGV[1]
local B = batch_key(bid)
if redis.call('EXISTS', B) == 1 then return 0 end
local now = now_ms()
redis.call('HSET', B, 'state', 'in_progress', 'enq', 0, 'again', 0, 'ok', 0, 'err', 0,
           'cancelled', 0, 'expired', 0, 'bytes', 0, 'created_at', now, 'touched', now)
for k = 3, #ARGV, 2 do redis.call('HSET', B, ARGV[k], ARGV[k + 1]) end
redis.call('ZADD', BATCHES, now, bid)
redis.call('SADD', ACTIVE, bid)
redis.call('SET', EPOCH, ARGV[2], 'NX')
return 1
