-- RECORD_CREATE: a batch in state validating.
--@include _keys.lua
--@include _records.lua
-- Arguments: batch id, tenant, window_s, input file id, digest of the idempotency key ('' without),
--   digest of the request, how long the key is remembered (seconds), then field, value, ...
-- Effects: the batch's record, its place in the tenant's list and among the open ones, and a hold
--   on the input's blob, so that deleting the file does not hurt the batch.
-- Replies: {'NEW', id} | {'KNOWN', id of the batch that this key made} | {'REUSED', that id}: the
--   key stood for another request.
local bid, tenant, window_s, file = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local digest, request, remember_s = ARGV[5], ARGV[6], ARGV[7]
if digest ~= '' then
  local known = redis.call('GET', idempotency_key(tenant, digest))
  if known then
    local other, its_request = string.match(known, '^(.-)\n(.*)$')
    return {its_request == request and 'KNOWN' or 'REUSED', other}
  end
end

local R, now = record_key(bid), now_s()
if redis.call('EXISTS', R) == 1 then return {'KNOWN', bid} end
local seq = redis.call('INCR', SEQUENCE)
redis.call('HSET', R, 'tenant', tenant, 'seq', seq, 'status', 'validating',
           'input_file_id', file, 'created_at', now, 'expires_at', now + window_s,
           unpack(ARGV, 8))
local h = redis.call('HMGET', file_key(file), 'tenant', 'deleted', 'expires_at', 'blob', 'purpose')
if h[1] == tenant and not h[2] and not (h[3] and tonumber(h[3]) <= now) then
  redis.call('HSET', R, 'input_blob', h[4], 'input_purpose', h[5])
  hold_blob(h[4])
end
redis.call('ZADD', records_key(tenant), seq, bid)
redis.call('SADD', OPEN, bid)
if digest ~= '' then
  redis.call('SET', idempotency_key(tenant, digest), bid .. '\n' .. request, 'EX', remember_s)
end
return {'NEW', bid}
