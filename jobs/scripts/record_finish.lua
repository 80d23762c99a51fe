-- RECORD_FINISH: the end of a batch that has run: status, stamp, counts and files at once.
--@include _keys.lua
--@include _records.lua
-- Arguments: batch id, the status it must have, its last status, lifetime_s of its files, number
--   of record fields that follow, field, value, ..., then for each file: the record's field for
--   its id, file id, blob, number of its fields, field, value, ...
-- Effects: the files exist, and the batch names them; or nothing.
-- Replies: {1 if it was finished, the status afterwards}; {0, ''} for an unknown batch.
local bid, from, to, lifetime_s = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local R = record_key(bid)
local h = redis.call('HMGET', R, 'status', 'tenant')
if not h[1] then return {0, ''} end
if h[1] ~= from then return {0, h[1]} end

local at = 6 + tonumber(ARGV[5])
local fields = {unpack(ARGV, 6, at - 1)}
while at <= #ARGV do
  local name, id, blob, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  add_file(id, h[2], blob, lifetime_s, {unpack(ARGV, at + 4, at + 3 + count)})
  fields[#fields + 1] = name
  fields[#fields + 1] = id
  at = at + 4 + count
end
redis.call('HSET', R, 'status', to, to .. '_at', now_s(), unpack(fields))
return {1, to}
