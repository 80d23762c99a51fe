-- SETTLE: ends a batch whose jobs are gone although lines have no result (keys removed by hand, a
-- server that came back with half of its data), when nobody can restore them.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
-- Arguments: batch id, limit (rows per call).
-- Effects: an `err` row with code job_lost (or the fate of a batch that is over) for each line
--   without a result; then finalizing.
-- Replies: {rows made, 1 if the batch is finalizing now}; {0, 0} while it has jobs or a producer.
-- Invariants: a line that has a row keeps it (I1); each call goes on where the last one stopped.
local bid, limit = ARGV[1], tonumber(ARGV[2])
local h = redis.call('HMGET', batch_key(bid), 'state', 'enq_done', 'total', 'expires_at')
if h[2] ~= '1' or (h[1] ~= 'in_progress' and h[1] ~= 'cancelling') then return {0, 0} end
if jobs_left(bid) > 0 then return {0, 0} end

local total = tonumber(h[3])
local fate = fate_of(h[1], h[4], now_ms())
local made, byte = 0, 0
while made < limit do
  local idx = redis.call('BITPOS', bitmap_key(bid), 0, byte)
  if idx < 0 then idx = redis.call('STRLEN', bitmap_key(bid)) * 8 end
  if idx >= total then break end
  record(bid, idx, {custom_id = '', outcome = fate or 'err', worker = '', attempt = 0,
                    payload = '', code = not fate and 'job_lost' or nil})
  made = made + 1
  byte = math.floor(idx / 8)
end
if made == limit then return {made, 0} end
to_finalizing(bid, h[1])
return {made, 1}
