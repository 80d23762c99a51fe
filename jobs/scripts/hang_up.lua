-- HANG_UP: nobody waits for this request any more.
--@include _keys.lua
-- Arguments: batch id, model, entry id, idx.
-- Effects: the job is noted as cancelled; it becomes a row in TAKE, or when its worker renews.
-- Replies: 1; 0 if the job is over.
-- Invariants: a job that has its row keeps it (I1).
local bid, model, id, idx = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if #redis.call('XRANGE', stream_key(bid, model), id, id) == 0 then return 0 end
redis.call('SADD', cancels_key(bid), idx)
return 1
