-- REPAIR: gives a broken batch streams that work again.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
-- Arguments: batch id.
-- Effects: a stream key of a wrong type is removed; a missing stream or group is made anew, whose
--   jobs are then all delivered again (their old leases are GONE, so no result counts twice).
--   Lines whose job is lost stay without one: RECONCILE or SETTLE ends them. A wrong-typed bitmap
--   or outbox cannot be repaired: what it held is unknown.
-- Replies: 1; 0 if the batch cannot be repaired or is not broken.
-- Invariants: what was recorded (bits, rows, counters) is never touched or guessed at (I1, I3).
local bid = ARGV[1]
if redis.call('SISMEMBER', BROKEN, bid) == 0 then return 0 end

local function type_of(key)
  local reply = redis.call('TYPE', key)
  return type(reply) == 'table' and reply.ok or reply
end

local function is_one_of(key, wanted)
  local kind = type_of(key)
  return kind == wanted or kind == 'none'
end

if type_of(batch_key(bid)) ~= 'hash' then return 0 end
if not is_one_of(bitmap_key(bid), 'string') or not is_one_of(outbox_key(bid), 'stream') then
  return 0
end
if not is_one_of(attempts_key(bid), 'hash') then redis.call('DEL', attempts_key(bid)) end
if not is_one_of(cancels_key(bid), 'set') then redis.call('DEL', cancels_key(bid)) end
redis.call('SREM', BROKEN, bid)
local h = redis.call('HMGET', batch_key(bid), 'tenant', 'class')
for _, model in ipairs(redis.call('SMEMBERS', models_key(bid))) do
  local S = stream_key(bid, model)
  if not is_one_of(S, 'stream') then redis.call('DEL', S) end
  redis.pcall('XGROUP', 'CREATE', S, GROUP, '0', 'MKSTREAM')
  leave_lane(bid, model, h[1], h[2])
  join_lane(bid, model, h[1], h[2])
  redis.call('ZADD', reap_key(model), 0, bid)
end
return 1
