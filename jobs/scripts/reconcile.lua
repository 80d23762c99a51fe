-- RECONCILE: brings a quiet batch in line with the files that hold its results.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
--@include _add.lua
-- Arguments: batch id, total, then ok, err, cancelled, expired as counted from the files, then 8
--   per line that no file holds (see _add.lua).
-- Effects: counters and bits as the files say; the missing lines are jobs again; without any, the
--   batch goes to finalizing.
-- Replies: {'DONE', 0} | {'REQUEUED', lines} | {'BUSY', jobs + rows that are still on their way} |
--   {'STATE', 0}: the batch is not running, or not all of its lines are enqueued.
-- Invariants: only when nothing is queued, leased or in the outbox, so that no row can be counted
--   in a file and in Redis. What the files hold is never run again.
local bid, total = ARGV[1], tonumber(ARGV[2])
local first_item = 7
local B, M = batch_key(bid), bitmap_key(bid)
local h = redis.call('HMGET', B, 'state', 'enq_done', 'expires_at', 'tenant', 'class', 'again')
if (h[1] ~= 'in_progress' and h[1] ~= 'cancelling') or h[2] ~= '1' then return {'STATE', 0} end
local busy = jobs_left(bid) + redis.call('XLEN', outbox_key(bid))
if busy > 0 then return {'BUSY', busy} end

local whole_bytes = math.floor(total / 8)
redis.call('SET', M, string.rep('\255', whole_bytes))
for idx = whole_bytes * 8, total - 1 do redis.call('SETBIT', M, idx, 1) end
for k = first_item, #ARGV, ITEM_SIZE do redis.call('SETBIT', M, ARGV[k], 0) end
redis.call('HSET', B, 'ok', ARGV[3], 'err', ARGV[4], 'cancelled', ARGV[5], 'expired', ARGV[6],
           'total', total, 'enq', total)
redis.call('HDEL', B, 'cut')

local again = tonumber(h[6])
local num_items = (#ARGV - first_item + 1) / ITEM_SIZE
local batch = {tenant = h[4], class = h[5], now = now_ms()}
batch.fate = fate_of(h[1], h[3], batch.now)
local failure = add_items(bid, first_item, total + again, batch)
if failure then
  redis.call('SADD', BROKEN, bid)
  return failure
end
redis.call('HSET', B, 'again', again + num_items)
if complete_if_done(bid) then return {'DONE', 0} end
return {'REQUEUED', num_items}
