-- RECOUNT: the counters of a batch that waits for its sink, as its files say.
--@include _keys.lua
-- Arguments: batch id, ok, err, cancelled, expired as counted from the files.
-- Effects: the counters of a finalizing batch, if the files have a row for each of its lines.
-- Replies: 1; 0 if the batch is not finalizing, or has other lines by now (nothing is changed then).
-- Invariants: published counts come from files (I5), and add up to the bits as before (I3).
local bid = ARGV[1]
local h = redis.call('HMGET', batch_key(bid), 'state', 'total')
if h[1] ~= 'finalizing' then return 0 end
if tonumber(h[2]) ~= ARGV[2] + ARGV[3] + ARGV[4] + ARGV[5] then return 0 end
redis.call('HSET', batch_key(bid), 'ok', ARGV[2], 'err', ARGV[3], 'cancelled', ARGV[4],
           'expired', ARGV[5])
return 1
