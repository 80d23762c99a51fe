-- ENQUEUE: the next chunk of a batch's lines, in the producer's fan-out order.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
--@include _add.lua
-- Arguments: batch id, position of the first item, is_final (0/1), max_depth (jobs in the whole
--   namespace), max_bytes (their bodies), max_outbox (rows of this batch), then 8 per item (see
--   _add.lua).
-- Effects: each job into the stream of its model, each finished row into the outbox; `enq` moves
--   on by the number of items; with is_final the total is known, and the batch completes if every
--   line has a result already. Cancelled and expired batches still take their lines, as rows; one
--   that SWEEP closed for want of its producer is open again, unless it is final. Whatever is
--   replied but STATE, the producer was heard of: without items that is the only effect.
-- Replies: {'OK', enq} | {'AT', enq}: that is not where the fan-out stands, go on from enq |
--   {'FULL', enq}: wait and send the same chunk again | {'STATE', enq, state}: takes no lines.
-- Invariants: a chunk is applied once, however often it is sent (I2 over positions);
--   depth <= max_depth (I7).
local bid, from = ARGV[1], tonumber(ARGV[2])
local is_final = ARGV[3] == '1'
local max_depth, max_bytes, max_outbox = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local first_item = 7

local h = redis.call('HMGET', batch_key(bid), 'state', 'enq', 'enq_done', 'expires_at',
                     'tenant', 'class', 'sink', 'again', 'cut')
local state, at = h[1], tonumber(h[2] or '0')
local num_items = (#ARGV - first_item + 1) / ITEM_SIZE
local is_closed, now = h[3] == '1', now_ms()
if not state then return {'STATE', 0, ''} end
if h[9] and (state == 'in_progress' or state == 'cancelling' or state == 'finalizing') then
  state, is_closed = open_again(bid, state, now), false
end
if is_closed and is_final and from + num_items == at then return {'OK', at} end
if is_closed or (state ~= 'in_progress' and state ~= 'cancelling') then
  return {'STATE', at, state}
end
redis.call('HSET', batch_key(bid), 'touched', now)
if at ~= from then return {'AT', at} end

local batch = {tenant = h[5], class = h[6], now = now}
batch.fate = fate_of(state, h[4], batch.now)
local new_jobs, new_bytes, new_rows = 0, 0, 0
for k = first_item, #ARGV, ITEM_SIZE do
  if ARGV[k + 2] == '' or batch.fate then new_rows = new_rows + 1
  else new_jobs, new_bytes = new_jobs + 1, new_bytes + #ARGV[k + 5] end
end
if new_jobs > 0 then
  local depth, bytes = backlog_size()
  if depth + new_jobs > max_depth or bytes + new_bytes > max_bytes then return {'FULL', at} end
end
-- A chunk larger than the bound is let through when the outbox is empty: it could never fit.
if new_rows > 0 and h[7] ~= 'redis' then
  local waiting = redis.call('XLEN', outbox_key(bid))
  if waiting > 0 and waiting + new_rows > max_outbox then return {'FULL', at} end
end

local failure = add_items(bid, first_item, at + tonumber(h[8]), batch)
if failure then
  redis.call('SADD', BROKEN, bid)
  return failure
end
at = from + num_items
redis.call('HSET', batch_key(bid), 'enq', at)
if is_final then
  redis.call('HSET', batch_key(bid), 'enq_done', 1, 'total', at)
  complete_if_done(bid)
end
return {'OK', at}
