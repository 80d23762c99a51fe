-- SUBMIT: one request of a client that waits for its answer.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
--@include _create.lua
--@include _add.lua
-- Arguments: batch id, a random epoch, idx (unguessable, never used before), packed custom id,
--   model, url, cost, body, ms that the job may take, max_jobs and max_tokens that the tenant may
--   have waiting or running here (0: any number), remember_ms, then field, value, ... of the batch
--   hash.
-- Effects: the batch if it does not exist; the job in the stream of its model.
-- Replies: {'OK', entry id} | {'JOBS', n} | {'TOKENS', n}: the tenant has that many already |
--   {'STATE', state}: somebody ended the batch.
-- Invariants: the same idx is added once, however often the call is repeated within remember_ms.
local bid, idx, model, cost = ARGV[1], ARGV[3], ARGV[5], tonumber(ARGV[7])
local max_jobs, max_tokens = tonumber(ARGV[10]), tonumber(ARGV[11])
create_batch(bid, ARGV[2], {unpack(ARGV, 13)})

local B = batch_key(bid)
local h = redis.call('HMGET', B, 'state', 'tenant', 'class')
if h[1] ~= 'in_progress' then return {'STATE', h[1] or ''} end
local known = redis.call('GET', submission_key(bid, idx))
if known then return {'OK', known} end

local jobs, tokens = 0, 0
for _, each in ipairs(redis.call('SMEMBERS', models_key(bid))) do
  local n = redis.call('HMGET', B, 'jobs:' .. each, 'tokens:' .. each)
  jobs, tokens = jobs + (n[1] or 0), tokens + (n[2] or 0)
end
if max_jobs > 0 and jobs >= max_jobs then return {'JOBS', jobs} end
if max_tokens > 0 and jobs > 0 and tokens + cost > max_tokens then return {'TOKENS', tokens} end

local batch = {tenant = h[2], class = h[3], now = now_ms()}
local sequence = redis.call('HINCRBY', B, 'again', 1)
local failure = add_item(bid, sequence,
                         {idx = idx, custom_id = ARGV[4], model = model, url = ARGV[6],
                          cost = ARGV[7], body = ARGV[8], ttl = ARGV[9], hash = ''}, batch, nil)
if failure then
  redis.call('SADD', BROKEN, bid)
  return failure
end
redis.call('HSET', B, 'touched', batch.now)
local id = sequence .. '-' .. idx
redis.call('SET', submission_key(bid, idx), id, 'PX', ARGV[12])
return {'OK', id}
