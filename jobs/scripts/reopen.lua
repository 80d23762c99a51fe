-- REOPEN: lets the fan-out of a quiet batch start over, because the queue has lost lines of it.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
-- Arguments: batch id, bitmap of the lines that files hold (as RESTORE), ok, err, cancelled,
--   expired as counted from the files.
-- Effects: counters and bits as the files say; the fan-out stands at its beginning again. ENQUEUE
--   skips the lines that have a result.
-- Replies: {'REQUEUED', 0} | {'BUSY', jobs + rows that are still on their way} | {'STATE', 0}: the
--   batch is not running, or not all of its lines are enqueued.
-- Invariants: only when nothing is queued, leased or in the outbox, so that no row can be counted
--   in a file and in Redis. Sequence numbers of entries go on growing. A torn call leaves a batch
--   that the next fan-out ends, after which it is quiet and unfinished as before.
local bid = ARGV[1]
local B = batch_key(bid)
local h = redis.call('HMGET', B, 'state', 'enq_done', 'enq', 'again')
if (h[1] ~= 'in_progress' and h[1] ~= 'cancelling') or h[2] ~= '1' then return {'STATE', 0} end
local busy = jobs_left(bid) + redis.call('XLEN', outbox_key(bid))
if busy > 0 then return {'BUSY', busy} end

redis.call('SET', bitmap_key(bid), ARGV[2])
redis.call('HSET', B, 'ok', ARGV[3], 'err', ARGV[4], 'cancelled', ARGV[5], 'expired', ARGV[6])
redis.call('HDEL', B, 'enq_done', 'total', 'cut')
redis.call('HSET', B, 'again', h[4] + h[3], 'enq', 0, 'touched', now_ms())
return {'REQUEUED', 0}
