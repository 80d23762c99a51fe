-- Shared: recording results, removing jobs, the life of a batch. Needs _keys.lua, _share.lua.
-- Invariants kept here: a job leaves its stream only in the script that sets its bit (I2);
-- ok + err + cancelled + expired = number of set bits (I3).
-- Writes are ordered so that any prefix of them, should a crash of the server tear a script, is
-- repaired by delivery or maintenance: the outbox row comes before the bit, the bit before the ack.

local ONLINE_ROW_MS = 600000 -- how long the row of a line waits for its client
local MAX_COUNTED = 500 -- entries of a stream that are counted together

-- 'cancelled' or 'expired' if the batch takes no more device time, else nil.
local function fate_of(state, expires_at, now)
  if state == 'cancelling' then return 'cancelled' end
  if state == 'in_progress' and expires_at and tonumber(expires_at) <= now then return 'expired' end
  return nil
end

-- Whether the sink of a batch lags so far behind that no more rows should be made.
local function outbox_is_full(bid, sink, max_outbox)
  return sink ~= 'redis' and redis.call('XLEN', outbox_key(bid)) >= max_outbox
end

-- Tells the client that waits for a line where its row is; the row stays for a while.
local function tell_waiting(bid, idx, entry_id)
  redis.call('SREM', cancels_key(bid), idx)
  redis.call('XTRIM', outbox_key(bid), 'MINID', '~', now_ms() - ONLINE_ROW_MS)
  redis.call('PEXPIRE', outbox_key(bid), ONLINE_ROW_MS)
  redis.call('PUBLISH', tokens_key(bid, idx), 'd' .. entry_id)
end

-- Adds to the error rows of a code, which the row names or its payload. A payload begins with one
-- line of JSON, in which no value can hold an unescaped quote.
local function count_error(bid, code, payload, num_rows)
  code = code or string.match(string.match(payload, '^[^\n]*'), '"error_code":"([%w_%-]+)"')
  redis.call('HINCRBY', batch_key(bid), 'code:' .. (code or 'unknown'), num_rows)
end

local function append(entry, field, value)
  entry[#entry + 1] = field
  entry[#entry + 1] = value
end

-- Puts a result into the outbox and marks its line; false if the line had one. `code` names the
-- error of a row without payload. The first write is one that a full server refuses. A line that a
-- client waits for has no mark: it has no result for as long as it has a job.
local function make_visible(bid, idx, row)
  if not is_online(bid) and redis.call('GETBIT', bitmap_key(bid), idx) == 1 then
    redis.call('HINCRBY', STAT, 'dup', 1)
    return false
  end
  local entry = {'i', idx, 'c', row.custom_id, 's', row.outcome, 'w', row.worker,
                 'a', row.attempt, 'r', row.payload}
  if row.code then append(entry, 'e', row.code) end
  if row.history then append(entry, 'h', row.history) end
  if row.from then append(entry, 'd', row.from) end
  local entry_id = redis.call('XADD', outbox_key(bid), '*', unpack(entry))
  if row.outcome == 'err' then count_error(bid, row.code, row.payload, 1) end
  if is_online(bid) then
    tell_waiting(bid, idx, entry_id)
  else
    redis.call('SETBIT', bitmap_key(bid), idx, 1)
  end
  return true
end

-- Records the row of a line that has no job; false if the line had a result.
local function record(bid, idx, row)
  local is_new = make_visible(bid, idx, row)
  if is_new then redis.call('HINCRBY', batch_key(bid), row.outcome, 1) end
  return is_new
end

local function count_backlog(model, jobs, tokens, bytes)
  redis.call('HINCRBY', BACKLOG, 'jobs:' .. model, jobs)
  redis.call('HINCRBY', BACKLOG, 'tokens:' .. model, tokens)
  redis.call('HINCRBY', BACKLOG, 'bytes', bytes)
end

-- Adds to the backlog of one stream and of the namespace; negative numbers take away.
local function count_jobs(bid, model, jobs, tokens, bytes)
  local B = batch_key(bid)
  redis.call('HINCRBY', B, 'jobs:' .. model, jobs)
  redis.call('HINCRBY', B, 'tokens:' .. model, tokens)
  redis.call('HINCRBY', B, 'bytes', bytes)
  count_backlog(model, jobs, tokens, bytes)
end

-- Puts a stream with waiting jobs where TAKE walks: the batch into its tenant's lane, the tenant
-- into the ring. Does nothing if it is there.
local function join_lane(bid, model, tenant, class)
  local B = batch_key(bid)
  if redis.call('HEXISTS', B, 'on:' .. model) == 1 then return end
  local lane = lane_key(class, tenant, model)
  if redis.call('LLEN', lane) == 0 then
    redis.call('LREM', ring_key(class, model), 0, tenant)
    redis.call('RPUSH', ring_key(class, model), tenant)
  end
  redis.call('RPUSH', lane, bid)
  redis.call('HSET', B, 'on:' .. model, 1, 'turn:' .. model, now_ms())
end

-- Takes a stream out of its lane; TAKE drops the tenant when it finds the lane empty.
local function leave_lane(bid, model, tenant, class)
  if redis.call('HDEL', batch_key(bid), 'on:' .. model, 'def:' .. model, 'turn:' .. model) > 0 then
    redis.call('LREM', lane_key(class, tenant, model), 1, bid)
  end
end

-- Moves a batch whose lines all have a result to finalizing.
local function to_finalizing(bid, state)
  redis.call('SADD', FINALIZING, bid)
  redis.call('HSET', batch_key(bid), 'state', 'finalizing', 'was', state,
             'finalizing_at', now_ms())
  local h = redis.call('HMGET', batch_key(bid), 'tenant', 'class')
  for _, model in ipairs(redis.call('SMEMBERS', models_key(bid))) do
    leave_lane(bid, model, h[1], h[2])
    redis.call('ZREM', reap_key(model), bid)
  end
end

-- Finalizing if the last line is enqueued and every line has a result; true if it moved now.
local function complete_if_done(bid)
  local h = redis.call('HMGET', batch_key(bid), 'state', 'enq_done', 'total',
                       'ok', 'err', 'cancelled', 'expired')
  if h[2] ~= '1' or (h[1] ~= 'in_progress' and h[1] ~= 'cancelling') then return false end
  if h[4] + h[5] + h[6] + h[7] < tonumber(h[3]) then return false end
  to_finalizing(bid, h[1])
  return true
end

-- Lets a batch take lines again that SWEEP closed for want of its producer (`cut`), and that is not
-- final yet; its state from now on. Torn, it is closed as before.
local function open_again(bid, state, now)
  local B = batch_key(bid)
  redis.call('HSET', B, 'touched', now)
  if state == 'finalizing' then
    state = redis.call('HGET', B, 'was')
    redis.call('HSET', B, 'state', state)
    redis.call('SREM', FINALIZING, bid)
  end
  redis.call('HDEL', B, 'enq_done', 'total', 'cut')
  return state
end

-- Why a consumer does not hold this lease any more: 'GONE' | 'FENCED', counted; nil if it does.
local function refusal_of(consumer, bid, model, id, fence)
  local pending = redis.pcall('XPENDING', stream_key(bid, model), GROUP, id, id, 1)
  if pending.err or #pending == 0 then
    redis.call('HINCRBY', STAT, 'gone', 1)
    return 'GONE'
  end
  if pending[1][2] ~= consumer or tonumber(pending[1][4]) ~= fence then
    redis.call('HINCRBY', STAT, 'fenced', 1)
    return 'FENCED'
  end
  return nil
end

-- Records the row of a leased job and removes the job: whether the row is new (nil if somebody
-- removed the batch), and whether it was the batch's last. Counters are read and written in one go,
-- since this is the busiest path.
local function finish_job(bid, model, id, cost, num_bytes, row)
  local B, S, idx = batch_key(bid), stream_key(bid, model), idx_of(id)
  local jobs, tokens = 'jobs:' .. model, 'tokens:' .. model
  local h = redis.call('HMGET', B, 'state', 'enq_done', 'total', 'ok', 'err', 'cancelled',
                       'expired', row.outcome, jobs, tokens, 'bytes', 'deadlines')
  if not h[1] then return nil, false end
  local is_new = make_visible(bid, idx, row)
  local new = is_new and 1 or 0
  redis.call('HSET', B, row.outcome, h[8] + new, jobs, (h[9] or 0) - 1,
             tokens, (h[10] or 0) - cost, 'bytes', (h[11] or 0) - num_bytes)
  local all = redis.call('HMGET', BACKLOG, jobs, tokens, 'bytes')
  redis.call('HSET', BACKLOG, jobs, (all[1] or 0) - 1, tokens, (all[2] or 0) - cost,
             'bytes', (all[3] or 0) - num_bytes)
  redis.call('XACK', S, GROUP, id)
  redis.call('XDEL', S, id)
  redis.call('HDEL', attempts_key(bid), idx, idx .. ':p', idx .. ':h')
  if h[12] then redis.call('ZREM', deadlines_key(bid), id .. ':' .. model) end
  if row.hash then end_share(bid, model, id, row) end

  local is_running = h[1] == 'in_progress' or h[1] == 'cancelling'
  if not is_running or h[2] ~= '1' or h[4] + h[5] + h[6] + h[7] + new < tonumber(h[3]) then
    return is_new, false
  end
  to_finalizing(bid, h[1])
  return is_new, true
end

-- The same for a stream entry that we hold.
local function finish_entry(bid, model, entry, row)
  local fields = fields_of(entry)
  row.custom_id, row.hash = fields.c, fields.h
  return finish_job(bid, model, entry[1], tonumber(fields.k), #fields.j, row)
end

-- Jobs left in the streams of a batch.
local function jobs_left(bid)
  local left = 0
  for _, model in ipairs(redis.call('SMEMBERS', models_key(bid))) do
    left = left + redis.call('XLEN', stream_key(bid, model))
  end
  return left
end

-- The models that have a stream; none if somebody replaced the set of them.
local function models_of(bid)
  local models = redis.pcall('SMEMBERS', models_key(bid))
  return models.err and {} or models
end

-- The keys about jobs that are no streams.
local function drop_rest(bid)
  forget_shared(bid)
  redis.call('DEL', models_key(bid), attempts_key(bid), cancels_key(bid), deadlines_key(bid))
  redis.call('SREM', BROKEN, bid)
end

-- Removes every job key of a batch and what the backlog still counts for it.
local function drop_jobs(bid)
  local B = batch_key(bid)
  local h = redis.call('HMGET', B, 'tenant', 'class')
  for _, model in ipairs(models_of(bid)) do
    leave_lane(bid, model, h[1], h[2])
    redis.call('ZREM', reap_key(model), bid)
    redis.call('DEL', stream_key(bid, model))
    local left = redis.call('HMGET', B, 'jobs:' .. model, 'tokens:' .. model, 'bytes')
    count_jobs(bid, model, 0 - (tonumber(left[1]) or 0), 0 - (tonumber(left[2]) or 0),
               0 - (tonumber(left[3]) or 0))
  end
  drop_rest(bid)
end

-- Jobs, tokens and body bytes in a stream; none in what is no stream.
local function count_stream(S)
  local jobs, tokens, bytes, start = 0, 0, 0, '-'
  if type_of(S) ~= 'stream' then return jobs, tokens, bytes end
  while true do
    local entries = redis.call('XRANGE', S, start, '+', 'COUNT', MAX_COUNTED)
    for _, entry in ipairs(entries) do
      local fields = fields_of(entry)
      jobs = jobs + 1
      tokens, bytes = tokens + (tonumber(fields.k) or 0), bytes + #(fields.j or '')
    end
    if #entries < MAX_COUNTED then return jobs, tokens, bytes end
    start = '(' .. entries[#entries][1]
  end
end

-- The same for a batch whose hash somebody removed or replaced: what the backlog counts for it is
-- what its streams still hold.
local function drop_orphans(bid)
  for _, model in ipairs(models_of(bid)) do
    for _, class in ipairs({'', '-interactive'}) do
      for _, tenant in ipairs(redis.call('LRANGE', ring_key(class, model), 0, -1)) do
        redis.call('LREM', lane_key(class, tenant, model), 0, bid)
      end
    end
    redis.call('ZREM', reap_key(model), bid)
    local jobs, tokens, bytes = count_stream(stream_key(bid, model))
    redis.call('DEL', stream_key(bid, model))
    count_backlog(model, 0 - jobs, 0 - tokens, 0 - bytes)
  end
  drop_rest(bid)
end
