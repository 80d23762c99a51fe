-- RECORD_MOVE: compare-and-set on a batch's status.
--@include _keys.lua
--@include _records.lua
-- Arguments: batch id, the statuses it may be moved from (separated by commas), the new status,
--   then field, value, ...
-- Effects: the new status, its time stamp and the fields, all at once; or nothing.
-- Replies: {1 if it was moved, the status afterwards}; {0, ''} for an unknown batch.
local bid, from, to = ARGV[1], ARGV[2], ARGV[3]
local R = record_key(bid)
local status = redis.call('HGET', R, 'status')
if not status then return {0, ''} end
if not string.find(',' .. from .. ',', ',' .. status .. ',', 1, true) then return {0, status} end
redis.call('HSET', R, 'status', to, to .. '_at', now_s(), unpack(ARGV, 4))
return {1, to}
