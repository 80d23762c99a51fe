-- RECORD_CLOSE: nothing is left to do for a batch that has ended.
--@include _keys.lua
--@include _records.lua
-- Arguments: batch id.
-- Effects: the input's blob is given up, the batch is no longer open. May be called again.
-- Replies: 1 if it was open.
local R = record_key(ARGV[1])
local blob = redis.call('HGET', R, 'input_blob')
if blob then
  release_blob(blob)
  redis.call('HDEL', R, 'input_blob')
end
return redis.call('SREM', OPEN, ARGV[1])
