-- RESTORE: tells a new batch which of its lines have a result in files already.
--@include _keys.lua
-- Arguments: batch id, bitmap (bit idx of byte idx / 8, highest bit first), ok, err, cancelled,
--   expired.
-- Effects: those lines count as done; ENQUEUE will skip them.
-- Replies: 1; 0 if the batch is unknown or its fan-out has begun.
-- Invariants: never on a batch that has jobs, so that no line gets both a row and a job (I2).
local bid = ARGV[1]
local B = batch_key(bid)
local h = redis.call('HMGET', B, 'state', 'enq', 'enq_done')
if h[1] ~= 'in_progress' or h[2] ~= '0' or h[3] then return 0 end
redis.call('SET', bitmap_key(bid), ARGV[2])
redis.call('HSET', B, 'ok', ARGV[3], 'err', ARGV[4], 'cancelled', ARGV[5], 'expired', ARGV[6])
return 1
