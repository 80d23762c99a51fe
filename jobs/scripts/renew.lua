-- RENEW: the heartbeat of a consumer's leases.
--@include _keys.lua
--@include _batch.lua
-- Arguments: consumer, then batch id, model, entry id, fence, is_started (0/1) for each lease.
-- Effects: a lease that is still held starts anew. The first renewal of a started one counts a
--   start against the job: only those are suspects if the process dies.
-- Replies: k, why, ... for the leases (the k-th, from 1) that must end: gone | fenced (stop, do
--   not commit) | cancelled | expired (stop and commit that outcome).
-- Invariants: a lease is never taken back from another owner (a bare XCLAIM would steal it).
local me = ARGV[1]
local now = now_ms()
local lost = {}
local batches = {}

local function load(bid)
  if not batches[bid] then
    local h = redis.call('HMGET', batch_key(bid), 'state', 'expires_at')
    batches[bid] = {fate = fate_of(h[1], h[2], now),
                    has_cancels = redis.call('EXISTS', cancels_key(bid)) == 1}
  end
  return batches[bid]
end

local function renew(bid, model, id, fence, is_started)
  local S = stream_key(bid, model)
  local pending = redis.pcall('XPENDING', S, GROUP, id, id, 1)
  if pending.err or #pending == 0 then return 'gone' end
  if pending[1][2] ~= me or tonumber(pending[1][4]) ~= fence then return 'fenced' end
  redis.call('XCLAIM', S, GROUP, me, 0, id, 'JUSTID')
  local idx = idx_of(id)
  if is_started then
    local starts, last_start = starts_of(bid, idx)
    if last_start ~= fence then
      redis.call('HSET', attempts_key(bid), idx, (starts + 1) .. ':' .. fence)
    end
  end
  local batch = load(bid)
  if batch.fate then return batch.fate end
  if batch.has_cancels and redis.call('SISMEMBER', cancels_key(bid), idx) == 1 then
    return 'cancelled'
  end
  return nil
end

for k = 2, #ARGV, 5 do
  local bid, model, id, fence, is_started = unpack(ARGV, k, k + 4)
  local why = renew(bid, model, id, tonumber(fence), is_started == '1')
  if why then
    lost[#lost + 1] = (k - 2) / 5 + 1
    lost[#lost + 1] = why
  end
end
return lost
