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

-- Ends a job that takes no more device time.
local function finish_as(bid, model, entry, fate)
  local past = past_of(bid, idx_of(entry[1]))
  finish_entry(bid, model, entry, {outcome = fate, worker = '', attempt = past.starts,
                                   payload = '', history = past.history})
end

-- Rows with outcome `fate` for the jobs of a batch that is over and that nobody holds: expired
-- leases, and jobs that wait for their time; how many.
local function reap_as_rows(bid, model, fate, lease_ms)
  local S = stream_key(bid, model)
  local rows = 0
  local function end_all(leases)
    for _, lease in ipairs(leases) do
      local entry = pending_entry(S, lease[1])
      if entry then
        finish_as(bid, model, entry, fate)
        rows = rows + 1
      end
      if lease[2] == LATER then redis.call('ZREM', later_key(model), bid .. ':' .. lease[1]) end
    end
  end
  end_all(expired_leases(S, lease_ms))
  end_all(redis.call('XPENDING', S, GROUP, '-', '+', MAX_LOOKS, LATER))
  return rows
end

-- `expired` rows for jobs whose own deadline is over, unless a worker holds them: it is told when
-- it renews; how many.
local function end_overdue(bid, lease_ms, now, limit)
  local rows = 0
  local overdue = redis.call('ZRANGEBYSCORE', deadlines_key(bid), '-inf', now, 'LIMIT', 0, limit)
  for _, member in ipairs(overdue) do
    local id, model = string.match(member, '^([^:]+):(.*)$')
    local S = stream_key(bid, model)
    local lease = redis.call('XPENDING', S, GROUP, id, id, 1)[1]
    local entry = redis.call('XRANGE', S, id, id)[1]
    if not entry then
      redis.call('ZREM', deadlines_key(bid), member)
    elseif not lease or lease[2] == LATER or tonumber(lease[3]) >= lease_ms then
      finish_as(bid, model, entry, 'expired')
      redis.call('ZREM', later_key(model), bid .. ':' .. id)
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
