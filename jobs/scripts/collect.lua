-- COLLECT: a sink is about to store the rows of an outbox.
--@include _keys.lua
-- Arguments: batch id.
-- Effects: `collected` says up to which row a sink may have stored them: those are final.
-- Replies: the id of the newest row; nil if there is none.
-- Invariants: comes before the rows are read, so that REVIVE takes back no row that a sink has.
local newest = redis.call('XREVRANGE', outbox_key(ARGV[1]), '+', '-', 'COUNT', 1)[1]
if not newest then return nil end
if redis.call('EXISTS', batch_key(ARGV[1])) == 1 then
  redis.call('HSET', batch_key(ARGV[1]), 'collected', newest[1])
end
return newest[1]
