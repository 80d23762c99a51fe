-- SWEEP: what must happen to a batch even if no worker lives.
--@include _keys.lua
--@include _share.lua
--@include _past.lua
--@include _batch.lua
--@include _reap.lua
-- Arguments: batch id, lease_ms, limit (rows per call), max_outbox, producer_timeout_ms.
-- Effects: for a cancelled or expired batch: waiting jobs and those with an expired lease become
--   rows; if its producer has been silent for producer_timeout_ms before the last line, the lines
--   it sent are all (`cut` says so: ENQUEUE opens it again). For any running batch: jobs whose own
--   deadline is over become rows; jobs that somebody acked behind our back are leased out again;
--   the batch completes if every line has a result. One that lost its keys, or whose hash is none,
--   goes to `broken`.
-- Replies: {state, rows made, jobs left, rows in the outbox, whether the last line is enqueued}; an
--   unknown state is ''.
-- Invariants: idempotent; calls none of its effects on a batch that is finalizing or final (I8).
local bid, lease_ms, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_outbox, producer_timeout_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local MAX_RESCUED = 500

local B = batch_key(bid)
local now = now_ms()

-- Entries that were delivered but are neither pending nor gone: a foreign XACK.
local function rescue(model)
  local S = stream_key(bid, model)
  if redis.call('XLEN', S) == redis.call('XPENDING', S, GROUP)[1] then return end
  if redis.call('HEXISTS', B, 'on:' .. model) == 1 then return end
  for _, entry in ipairs(redis.call('XRANGE', S, '-', '+', 'COUNT', MAX_RESCUED)) do
    if #redis.call('XPENDING', S, GROUP, entry[1], entry[1], 1) == 0 then
      redis.call('XCLAIM', S, GROUP, NOBODY, 0, entry[1], 'IDLE', RELEASED_IDLE_MS,
                 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
      redis.call('HINCRBY', STAT, 'rescued', 1)
    end
  end
  redis.call('ZADD', reap_key(model), 0, bid)
end

-- Whether there were jobs, and yet the set of their models is gone.
local function has_lost_models(models)
  if #models > 0 then return false end
  for _, field in ipairs(redis.call('HKEYS', B)) do
    if string.sub(field, 1, 5) == 'jobs:' then return true end
  end
  return false
end

-- Rows made, jobs left.
local function sweep_jobs()
  local h = redis.call('HMGET', B, 'state', 'expires_at', 'sink', 'touched', 'enq_done', 'enq',
                       'deadlines')
  if h[1] ~= 'in_progress' and h[1] ~= 'cancelling' then return 0, 0 end
  local fate = fate_of(h[1], h[2], now)
  local rows = 0
  if h[7] and not fate and not outbox_is_full(bid, h[3], max_outbox) then
    rows = end_overdue(bid, lease_ms, now, limit)
  end
  local models = redis.call('SMEMBERS', models_key(bid))
  if has_lost_models(models) then
    redis.call('SADD', BROKEN, bid)
    return rows, 1 -- how many is not known
  end
  for _, model in ipairs(models) do
    if fate and not outbox_is_full(bid, h[3], max_outbox) then
      rows = rows + reap_as_rows(bid, model, fate, lease_ms)
      rows = rows + queued_as_rows(bid, model, fate, limit)
    end
    rescue(model)
  end
  if fate and h[5] ~= '1' and now - tonumber(h[4]) >= producer_timeout_ms then
    redis.call('HSET', B, 'enq_done', 1, 'total', h[6], 'cut', 1)
  end
  complete_if_done(bid)
  return rows, jobs_left(bid)
end

local rows, left, num_outbox = 0, 0, 0
local ok, caught = pcall(function()
  rows, left = sweep_jobs()
  num_outbox = redis.call('XLEN', outbox_key(bid))
end)
if not ok then
  if not is_key_error(caught) then error(caught, 0) end
  redis.call('SADD', BROKEN, bid)
  left = 1 -- unknown: such a batch must not count as quiet
end
local after = redis.pcall('HMGET', B, 'state', 'enq_done')
return {after[1] or '', rows, left, num_outbox, after[2] == '1' and 1 or 0}
