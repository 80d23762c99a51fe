-- RENEW: the heartbeat of a consumer's leases.
--@include _keys.lua
--@include _share.lua
--@include _past.lua
--@include _batch.lua
-- Arguments: consumer, then batch id, model, entry id, fence, is_started (0/1) for each lease.
-- Effects: a lease that is still held starts anew. The first renewal of a started one counts a
--   start against the job: only those are suspects if the process dies. A batch with a key of a
--   wrong type moves to `broken`, and gets no workers until it is repaired: its leases are gone.
-- Replies: k, why, ... for the leases (the k-th, from 1) that must end: gone | fenced (stop, do
--   not commit) | cancelled | expired (stop and commit that outcome).
-- Invariants: a lease is never taken back from another owner (a bare XCLAIM would steal it).
local me = ARGV[1]
local MANY = 16 -- leases of one stream that are looked up together
local now = now_ms()
local lost = {}

-- The leases by batch and stream: {k, id, fence, is_started}, where k counts from 1.
local batches = {}
for k = 2, #ARGV, 5 do
  local bid, model, id, fence, is_started = unpack(ARGV, k, k + 4)
  local streams = batches[bid] or {}
  batches[bid] = streams
  streams[model] = streams[model] or {}
  table.insert(streams[model], {k = (k - 2) / 5 + 1, id = id, fence = tonumber(fence),
                                is_started = is_started == '1'})
end

local function lose(lease, why)
  lost[#lost + 1] = lease.k
  lost[#lost + 1] = why
end

-- Deliveries by entry id of what we hold in a stream. One look is cheaper than many if there are
-- many to look for.
local function held(S, leases)
  local found = {}
  if #leases < MANY then return found end
  local pending = redis.pcall('XPENDING', S, GROUP, '-', '+', 100000, me)
  if pending.err then return found end
  for _, entry in ipairs(pending) do found[entry[1]] = tonumber(entry[4]) end
  return found
end

-- The leases that are still ours; the others are lost.
local function keep(S, leases)
  local ours, kept, ids = held(S, leases), {}, {}
  for _, lease in ipairs(leases) do
    local owner, deliveries = me, ours[lease.id]
    if not deliveries then
      local pending = redis.pcall('XPENDING', S, GROUP, lease.id, lease.id, 1)
      local entry = not pending.err and pending[1]
      if entry then owner, deliveries = entry[2], tonumber(entry[4]) end
    end
    if not deliveries then
      lose(lease, 'gone')
    elseif owner ~= me or deliveries ~= lease.fence then
      lose(lease, 'fenced')
    else
      kept[#kept + 1] = lease
      ids[#ids + 1] = lease.id
    end
  end
  for first = 1, #ids, 1000 do
    local some = {unpack(ids, first, math.min(first + 999, #ids))}
    some[#some + 1] = 'JUSTID'
    redis.call('XCLAIM', S, GROUP, me, 0, unpack(some))
  end
  return kept
end

-- Counts the first renewal of each started lease as a start.
local function count_starts(bid, leases)
  local started, idxs = {}, {}
  for _, lease in ipairs(leases) do
    if lease.is_started then
      started[#started + 1] = lease
      idxs[#idxs + 1] = idx_of(lease.id)
    end
  end
  for first = 1, #idxs, 1000 do
    local last = math.min(first + 999, #idxs)
    local counted = redis.call('HMGET', attempts_key(bid), unpack(idxs, first, last))
    for k = first, last do
      local text = counted[k - first + 1]
      if not text or tonumber(string.match(text, '^%d+:(%d+)')) ~= started[k].fence then
        local past = past_of(bid, idxs[k])
        past.starts, past.fence = past.starts + 1, started[k].fence
        save_past(bid, idxs[k], past)
      end
    end
  end
end

local function renew_batch(bid, streams)
  local h = redis.call('HMGET', batch_key(bid), 'state', 'expires_at', 'deadlines')
  local fate = fate_of(h[1], h[2], now)
  local batch = {has_deadlines = h[3], has_cancels = redis.call('EXISTS', cancels_key(bid)) == 1}
  for model, leases in pairs(streams) do
    local kept = keep(stream_key(bid, model), leases)
    count_starts(bid, kept)
    for _, lease in ipairs(kept) do
      local why = fate or job_fate(batch, bid, model, lease.id, now)
      if why then lose(lease, why) end
    end
  end
end

-- A batch whose keys are not what they should be costs nobody else a lease.
local function give_up(bid, streams)
  redis.call('SADD', BROKEN, bid)
  local h = redis.pcall('HMGET', batch_key(bid), 'tenant', 'class')
  for model, leases in pairs(streams) do
    if h[1] then leave_lane(bid, model, h[1], h[2]) end
    for _, lease in ipairs(leases) do lose(lease, 'gone') end
  end
end

for bid, streams in pairs(batches) do
  local num_lost = #lost
  local ok, caught = pcall(renew_batch, bid, streams)
  if not ok then
    if not is_key_error(caught) then error(caught, 0) end
    for k = #lost, num_lost + 1, -1 do lost[k] = nil end
    give_up(bid, streams)
  end
end
return lost
