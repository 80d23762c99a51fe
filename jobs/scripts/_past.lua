-- Shared: the earlier starts of jobs, and when they may start again. Needs _keys.lua.

-- What came before in the life of a job: starts that were counted against it, the fence of the
-- lease for which the last one was, how many of them ended with the worker still alive, and the
-- record of those that ended without a result (JSON objects, comma between; nil for none).
local function past_of(bid, idx)
  local h = redis.call('HMGET', attempts_key(bid), idx, idx .. ':h')
  if not h[1] then return {starts = 0, fence = 0, clean = 0, history = h[2] or nil} end
  local starts, fence, clean = string.match(h[1], '^(%d+):(%d+):?(%d*)$')
  return {starts = tonumber(starts), fence = tonumber(fence), clean = tonumber(clean) or 0,
          history = h[2] or nil}
end

local function save_past(bid, idx, past)
  redis.call('HSET', attempts_key(bid), idx,
             past.starts .. ':' .. past.fence .. ':' .. past.clean)
end

-- Records that the last start of a job ended without a result.
local function note_failure(bid, idx, past, failure)
  local worker = failure.worker ~= NOBODY and cjson.encode(failure.worker) or 'null'
  local text = string.format('{"attempt":%d,"cause":%s,"message":%s,"worker":%s,"at_ms":%.0f}',
                             past.starts, cjson.encode(failure.cause),
                             cjson.encode(failure.message), worker, now_ms())
  past.history = past.history and past.history .. ',' .. text or text
  redis.call('HSET', attempts_key(bid), idx .. ':h', past.history)
end

-- Whether the next start of a job is its last and must run alone: one that took its worker with it
-- may do so again. Failures that the worker survived are no reason for that.
local function is_last_alone(past, max_attempts)
  return past.starts == max_attempts - 1 and past.starts > past.clean
end

-- 'cancelled' or 'expired' if this one job takes no more device time, else nil. `batch` says
-- whether there is anything to look for.
local function job_fate(batch, bid, model, id, now)
  if batch.has_cancels and redis.call('SISMEMBER', cancels_key(bid), idx_of(id)) == 1 then
    return 'cancelled'
  end
  if not batch.has_deadlines then return nil end
  local at = redis.call('ZSCORE', deadlines_key(bid), id .. ':' .. model)
  return at and tonumber(at) <= now and 'expired' or nil
end

-- Lets a pending job wait for its time: nobody holds it until then, whoever did is fenced.
local function hold_until(bid, model, id, at)
  redis.call('ZADD', later_key(model), at, bid .. ':' .. id)
  redis.call('XCLAIM', stream_key(bid, model), GROUP, LATER, 0, id, 'JUSTID')
end
