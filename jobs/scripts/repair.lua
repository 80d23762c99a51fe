-- REPAIR: gives a broken batch keys that work again.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
-- Arguments: batch id.
-- Effects: a stream key of a wrong type is removed; a missing stream or group is made anew, whose
--   jobs are then all delivered again (their old leases are GONE, so no result counts twice).
--   Lines whose job is lost stay without one: RECONCILE or SETTLE ends them. Of what else has a
--   wrong type, earlier starts, cancelled lines, deadlines and shared results are forgotten: those
--   jobs run; the set of models is made anew. A wrong-typed hash, bitmap or outbox cannot be
--   repaired: what it held is unknown.
-- Replies: 1; 0 if the batch cannot be repaired or is not broken.
-- Invariants: what was recorded (bits, rows, counters) is never touched or guessed at (I1, I3).
local bid = ARGV[1]
if redis.call('SISMEMBER', BROKEN, bid) == 0 then return 0 end

local function is_one_of(key, wanted)
  local kind = type_of(key)
  return kind == wanted or kind == 'none'
end

local function forget_unless(key, wanted)
  if not is_one_of(key, wanted) then redis.call('DEL', key) end
end

-- Each model that ever had a job has a counter in the hash.
local function remember_models()
  for _, field in ipairs(redis.call('HKEYS', batch_key(bid))) do
    local model = string.match(field, '^jobs:(.*)$')
    if model then redis.call('SADD', models_key(bid), model) end
  end
end

if type_of(batch_key(bid)) ~= 'hash' then return 0 end
if not is_one_of(bitmap_key(bid), 'string') or not is_one_of(outbox_key(bid), 'stream') then
  return 0
end
forget_unless(attempts_key(bid), 'hash')
forget_unless(cancels_key(bid), 'set')
forget_unless(deadlines_key(bid), 'zset')
forget_unless(shared_key(bid), 'hash')
forget_unless(kept_key(bid), 'list')
forget_unless(models_key(bid), 'set')
remember_models()
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
