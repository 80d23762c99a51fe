-- Shared: announcing a batch. Needs _batch.lua.

-- `fields`: field, value, ... of the batch hash. False if the batch exists already. Nothing stays
-- of an earlier life whose hash somebody removed, except what clients wait for.
local function create_batch(bid, epoch, fields)
  local B = batch_key(bid)
  if redis.call('EXISTS', B) == 1 then return false end
  if not is_online(bid) then
    drop_orphans(bid)
    redis.call('DEL', bitmap_key(bid), outbox_key(bid))
  end
  local now = now_ms()
  redis.call('HSET', B, 'state', 'in_progress', 'enq', 0, 'again', 0, 'ok', 0, 'err', 0,
             'cancelled', 0, 'expired', 0, 'bytes', 0, 'created_at', now, 'touched', now)
  for k = 1, #fields, 2 do redis.call('HSET', B, fields[k], fields[k + 1]) end
  redis.call('ZADD', BATCHES, now, bid)
  redis.call('SADD', ACTIVE, bid)
  redis.call('SET', EPOCH, epoch, 'NX')
  return true
end
