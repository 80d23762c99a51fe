-- RELEASE: gives unfinished work back at once.
--@include _keys.lua
--@include _share.lua
--@include _past.lua
--@include _batch.lua
-- Arguments: consumer, then batch id, model, entry id, fence, progress for each lease.
-- Effects: a lease that is still held may be taken by any consumer now; its start is uncounted;
--   non-empty progress is kept for the next lease. A batch with a key of a wrong type moves to
--   `broken`.
-- Replies: how many leases were given back.
-- Invariants: spends no attempt; the former owner is fenced from then on.
local me = ARGV[1]
local released = 0

local function give_back(bid, model, id, fence, progress)
  local S = stream_key(bid, model)
  local pending = redis.pcall('XPENDING', S, GROUP, id, id, 1)
  if not pending.err and #pending == 1 and pending[1][2] == me
      and tonumber(pending[1][4]) == tonumber(fence) then
    redis.call('XCLAIM', S, GROUP, NOBODY, 0, id, 'IDLE', RELEASED_IDLE_MS, 'JUSTID')
    local idx = idx_of(id)
    local past = past_of(bid, idx)
    if past.fence == tonumber(fence) then
      past.starts, past.fence = past.starts - 1, 0
      save_past(bid, idx, past)
    end
    if progress ~= '' then redis.call('HSET', attempts_key(bid), idx .. ':p', progress) end
    redis.call('ZADD', reap_key(model), 0, bid)
    released = released + 1
  end
end

for k = 2, #ARGV, 5 do
  local ok, caught = pcall(give_back, unpack(ARGV, k, k + 4))
  if not ok then
    if not is_key_error(caught) then error(caught, 0) end
    redis.call('SADD', BROKEN, ARGV[k])
  end
end
return released
