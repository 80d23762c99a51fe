-- Shared: jobs whose lease is over. Needs _batch.lua.

local MAX_LOOKS = 256 -- expired leases looked at in one go

-- Expired leases of a stream, oldest entry first: {id, owner, idle, fence}.
local function expired_leases(S, lease_ms)
  return redis.call('XPENDING', S, GROUP, 'IDLE', lease_ms, '-', '+', MAX_LOOKS)
end

-- The entry of a pending id; nil if somebody deleted it, which ends its lease: the line has no
-- job any more, and maintenance restores it or reports it lost.
local function pending_entry(S, id)
  local entry = redis.call('XRANGE', S, id, id)[1]
  if not entry then
    redis.call('XACK', S, GROUP, id)
    redis.call('HINCRBY', STAT, 'lost', 1)
  end
  return entry
end

-- Says when to look at a batch's leases next: now if there may be more, never if it has none.
local function plan_next_look(bid, model, is_more, now, reap_every_ms)
  local S = stream_key(bid, model)
  if redis.call('XPENDING', S, GROUP)[1] == 0 then
    redis.call('ZREM', reap_key(model), bid)
  else
    redis.call('ZADD', reap_key(model), is_more and now or now + reap_every_ms, bid)
  end
end

-- Rows with outcome `fate` for the expired leases of a batch that is over; how many.
local function reap_as_rows(bid, model, fate, lease_ms)
  local S = stream_key(bid, model)
  local rows = 0
  for _, lease in ipairs(expired_leases(S, lease_ms)) do
    local entry = pending_entry(S, lease[1])
    if entry then
      local starts = starts_of(bid, idx_of(lease[1]))
      finish_entry(bid, model, entry,
                   {outcome = fate, worker = '', attempt = starts, payload = ''})
      rows = rows + 1
    end
  end
  return rows
end

-- Rows with outcome `fate` for up to `limit` jobs that wait in a stream; how many.
local function queued_as_rows(bid, model, fate, limit)
  local reply = redis.call('XREADGROUP', 'GROUP', GROUP, NOBODY, 'COUNT', limit,
                           'STREAMS', stream_key(bid, model), '>')
  if not reply or not reply[1] then return 0 end
  for _, entry in ipairs(reply[1][2]) do
    finish_entry(bid, model, entry,
                 {outcome = fate, worker = '', attempt = 0, payload = ''})
  end
  return #reply[1][2]
end
