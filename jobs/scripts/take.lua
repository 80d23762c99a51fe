-- TAKE: leases for a consumer.
--@include _keys.lua
--@include _share.lua
--@include _past.lua
--@include _batch.lua
--@include _dead.lua
--@include _reap.lua
-- Arguments: consumer, max_jobs, max_cost (tokens), num_in_flight, lease_ms, max_attempts,
--   burst (jobs), quantum (tokens), reap_every_ms, max_outbox, age_ms, then the models served.
-- Effects: 1. Expired leases of these models, at most every reap_every_ms for each batch: a new
--   lease; or, after max_attempts starts, a dead letter and an `err` row. A job at its last
--   attempt is leased alone, to a consumer with nothing in flight, if an earlier one took its
--   worker with it; a consumer that finds one while busy gets no more work until it is empty and
--   then runs it. Jobs that waited for their time (RETRY, a leader) and whose time has come.
--   2. Waiting jobs by surplus round robin over tenants, and over the batches of each; interactive
--   batches before all others. Both levels count tokens, a job for at least quantum / burst of
--   them. A tenant or batch that overdrew its share waits until later rounds have paid for it, so
--   every waiting job is reached. What has had no turn for age_ms gets one first: a batch whatever
--   its priority and debt, and the others behind interactive ones. Batches whose outbox is full are
--   passed over; jobs of cancelled and expired batches, and overdue ones, become rows.
--   3. A job with a hash is leased only if no other with that hash is: else it waits for that one,
--   or gets a row with its result.
--   A batch with a key that is missing or of a wrong type moves to `broken`; the others go on.
-- Replies: leases {batch, model, entry id, fence, attempt, is_last, packed custom id, url, cost,
--   body, enqueued_ms, progress, hash}. Their cost exceeds max_cost by less than the last job's.
-- Invariants: the delivery count of a pending entry only grows and is the fence of its lease
--   (I4); attempts count starts, not deliveries; only the Redis clock judges leases (I9).
local me, max_jobs, max_cost = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local in_flight, lease_ms, max_attempts = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local burst, quantum = tonumber(ARGV[7]), tonumber(ARGV[8])
local reap_every_ms, max_outbox = tonumber(ARGV[9]), tonumber(ARGV[10])
local age_ms = tonumber(ARGV[11])
local models = {unpack(ARGV, 12)}

local MAX_REAPED_BATCHES = 8
local MAX_MISSES = 128 -- steps of the walk that gave nothing
local ROWS_PER_STEP = 200
local MAX_SET_ASIDE = 256 -- jobs that cost no device time, in one call
local MAX_AGED_STEPS = 8

local now = now_ms()
local leases, cost = {}, 0
local is_alone = false -- just leased a last attempt: nothing beside it
local is_emptying = false -- will lease one as soon as nothing is in flight
local misses = 0
local set_aside = 0
local blocked = {} -- streams passed over in this call, since their sink lags
local fruitless = {} -- by ring: steps since the last one that gave a job

local function has_room()
  return not is_alone and not is_emptying and #leases < max_jobs and cost < max_cost
    and set_aside < MAX_SET_ASIDE
end

local function load_batch(bid, model)
  local h = redis.call('HMGET', batch_key(bid), 'state', 'expires_at', 'sink', 'tenant', 'class',
                       'share', 'def:' .. model, 'largest:' .. model, 'deadlines',
                       'turn:' .. model)
  local batch = {id = bid, model = model, state = h[1], sink = h[3], tenant = h[4], class = h[5]}
  batch.fate = fate_of(h[1], h[2], now)
  batch.share = tonumber(h[6] or '1')
  batch.deficit = tonumber(h[7] or '0')
  batch.largest = tonumber(h[8] or '0')
  batch.has_deadlines = h[9]
  batch.has_cancels = redis.call('EXISTS', cancels_key(bid)) == 1
  batch.is_starved = h[10] and now - tonumber(h[10]) >= age_ms
  batch.is_running = h[1] == 'in_progress' or h[1] == 'cancelling'
  return batch
end

-- Runs one step for a batch; a batch whose keys are not what they should be is set aside.
local function guarded(bid, class, tenant, model, step)
  local ok, caught = pcall(step)
  if ok then return caught end
  if not is_key_error(caught) then error(caught, 0) end
  redis.call('SADD', BROKEN, bid)
  redis.call('ZREM', reap_key(model), bid)
  if class then
    redis.call('LREM', lane_key(class, tenant, model), 0, bid)
    redis.pcall('HDEL', batch_key(bid), 'on:' .. model)
  end
  return nil
end

local function lease_out(batch, entry, fields, fence, past)
  local progress = ''
  if fence > 1 then
    progress = redis.call('HGET', attempts_key(batch.id), idx_of(entry[1]) .. ':p') or ''
  end
  local is_last = is_last_alone(past, max_attempts)
  leases[#leases + 1] = {batch.id, batch.model, entry[1], fence, past.starts + 1,
                         is_last and 1 or 0, fields.c, fields.u, fields.k, fields.j, fields.t,
                         progress, fields.h or ''}
  cost = cost + tonumber(fields.k)
  is_alone = is_last
  return tonumber(fields.k)
end

-- Ends a job that takes no more device time.
local function set_aside_as(batch, entry, fate)
  finish_as(batch.id, batch.model, entry, fate)
  set_aside = set_aside + 1
end

-- Whether a job is dealt with since another one has the same answer: it got that one's, or waits.
local function is_shared(batch, entry, fields, past)
  if not fields.h then return false end
  local bid, model = batch.id, batch.model
  local result = shared_result(bid, fields.h)
  if result then
    finish_entry(bid, model, entry, {outcome = 'ok', worker = '', attempt = past.starts,
                                     payload = result.payload, from = result.from,
                                     history = past.history})
    redis.call('HINCRBY', STAT, 'deduped', 1)
  elseif is_leader(bid, model, entry[1], fields.h) then
    return false
  else
    redis.call('RPUSH', followers_key(bid, fields.h), entry[1])
    hold_until(bid, model, entry[1], now + lease_ms)
  end
  set_aside = set_aside + 1
  return true
end

-- What a start that took its worker with it leaves behind.
local function death_of(lease)
  return {cause = 'worker_lost', message = 'its worker died, hung or lost Redis', worker = lease[2]}
end

-- After its last attempt: the job with its body into the dead letters, an error row to its sink.
local function bury(batch, lease, entry, past)
  write_letter(batch.id, batch.model, entry, death_of(lease), past)
  finish_entry(batch.id, batch.model, entry,
               {outcome = 'err', worker = lease[2], attempt = past.starts, payload = '',
                history = past.history, code = 'max_deliveries_exceeded'})
end

local function reclaim(batch, lease, entry, fields, past)
  if past.starts > 0 and past.fence == lease[4] then
    note_failure(batch.id, idx_of(lease[1]), past, death_of(lease))
    redis.call('HINCRBY', STAT, 'reclaimed', 1)
  elseif lease[2] ~= LATER then
    redis.call('HINCRBY', STAT, 'restored', 1)
  end
  redis.call('XCLAIM', stream_key(batch.id, batch.model), GROUP, me, 0, lease[1],
             'RETRYCOUNT', lease[4] + 1, 'JUSTID')
  lease_out(batch, entry, fields, lease[4] + 1, past)
end

-- Looks at one expired lease; a last attempt is left for a consumer that is empty.
local function reap_one(batch, lease)
  local entry = pending_entry(stream_key(batch.id, batch.model), lease[1])
  if not entry then return end
  local fields, past = fields_of(entry), past_of(batch.id, idx_of(lease[1]))
  local fate = job_fate(batch, batch.id, batch.model, lease[1], now)
  if fate then
    set_aside_as(batch, entry, fate)
  elseif past.starts >= max_attempts then
    bury(batch, lease, entry, past)
  elseif is_last_alone(past, max_attempts) and (in_flight > 0 or #leases > 0) then
    redis.call('HINCRBY', STAT, 'deferred', 1)
    if lease[2] == LATER then
      redis.call('XCLAIM', stream_key(batch.id, batch.model), GROUP, NOBODY, 0, lease[1],
                 'IDLE', RELEASED_IDLE_MS, 'JUSTID')
      redis.call('ZADD', reap_key(batch.model), now, batch.id)
    end
    is_emptying = redis.call('SET', alone_key(batch.model), me .. '\n' .. batch.id,
                             'NX', 'PX', lease_ms) and true or is_emptying
  elseif not is_shared(batch, entry, fields, past) then
    reclaim(batch, lease, entry, fields, past)
  end
end

-- Whether this expired lease is a job that waits for its time, and may go on waiting.
local function is_waiting(batch, lease)
  if lease[2] ~= LATER then return false end
  if not redis.call('ZSCORE', later_key(batch.model), batch.id .. ':' .. lease[1]) then
    return false
  end
  redis.call('XCLAIM', stream_key(batch.id, batch.model), GROUP, LATER, 0, lease[1], 'JUSTID')
  return true
end

-- The batch's expired leases. With `last_attempts_first` the job this consumer emptied itself for
-- comes before jobs that need not run alone.
local function reap(bid, model, last_attempts_first)
  local batch = load_batch(bid, model)
  if not batch.is_running then
    redis.call('ZREM', reap_key(model), bid)
    return
  end
  local S = stream_key(bid, model)
  local is_more = false
  local is_blocked = outbox_is_full(bid, batch.sink, max_outbox)
  if batch.fate and not is_blocked then
    reap_as_rows(bid, model, batch.fate, lease_ms)
    complete_if_done(bid)
  elseif not is_blocked then
    local expired = expired_leases(S, lease_ms)
    if last_attempts_first then
      for k, lease in ipairs(expired) do
        if is_last_alone(past_of(bid, idx_of(lease[1])), max_attempts) then
          table.insert(expired, 1, table.remove(expired, k))
          break
        end
      end
    end
    for _, lease in ipairs(expired) do
      if not has_room() then
        is_more = true
        break
      end
      if not is_waiting(batch, lease) then reap_one(batch, lease)
      elseif #expired == MAX_LOOKS then is_more = true end
    end
    complete_if_done(bid)
  end
  plan_next_look(bid, model, is_more, now, reap_every_ms)
end

-- Jobs of a model whose time has come.
local function wake_due(model)
  local L = later_key(model)
  local batches = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', L, '-inf', now, 'LIMIT', 0, MAX_SET_ASIDE)) do
    if not has_room() then return end
    local bid, id = string.match(member, '^([^:]+):(.*)$')
    redis.call('ZREM', L, member)
    guarded(bid, nil, nil, model, function()
      batches[bid] = batches[bid] or load_batch(bid, model)
      local batch = batches[bid]
      local lease = batch.is_running
        and redis.call('XPENDING', stream_key(bid, model), GROUP, id, id, 1)[1]
      if not lease or lease[2] ~= LATER then return end
      if outbox_is_full(bid, batch.sink, max_outbox) then
        hold_until(bid, model, id, now + reap_every_ms)
      elseif batch.fate then
        local entry = pending_entry(stream_key(bid, model), id)
        if entry then set_aside_as(batch, entry, batch.fate) end
      else
        reap_one(batch, lease)
      end
      complete_if_done(bid)
    end)
  end
end

--@include _walk.lua

-- A consumer that is emptying itself gets nothing until it is; then that job before any other.
for _, model in ipairs(models) do
  local owner, bid = string.match(redis.call('GET', alone_key(model)) or '', '^(.*)\n(.*)$')
  if owner == me and in_flight > 0 then
    redis.call('PEXPIRE', alone_key(model), lease_ms)
    return {}
  elseif owner == me then
    redis.call('DEL', alone_key(model))
    guarded(bid, nil, nil, model, function() reap(bid, model, true) end)
  end
end

for _, model in ipairs(models) do
  local due = redis.call('ZRANGEBYSCORE', reap_key(model), '-inf', now,
                         'LIMIT', 0, MAX_REAPED_BATCHES)
  for _, bid in ipairs(due) do
    if has_room() then
      guarded(bid, nil, nil, model, function() reap(bid, model, false) end)
    end
  end
end

for _, model in ipairs(models) do wake_due(model) end

-- What waits behind interactive jobs gets a turn before them when it has had none for long enough.
local is_behind = {} -- by model
for _, model in ipairs(models) do
  is_behind[model] = redis.call('LLEN', ring_key('-interactive', model)) > 0
    and redis.call('LLEN', ring_key('', model)) > 0
  local since = redis.call('GET', turn_key(model))
  if is_behind[model] and not since then
    redis.call('SET', turn_key(model), now)
  elseif is_behind[model] and now - tonumber(since) >= age_ms and has_room() then
    local before = #leases
    for _ = 1, MAX_AGED_STEPS do
      if #leases > before or not walk('', model) then break end
    end
    redis.call('SET', turn_key(model), now)
  elseif since and not is_behind[model] then
    redis.call('DEL', turn_key(model))
  end
end

for _, class in ipairs({'-interactive', ''}) do
  local is_walking = true
  misses = 0
  while is_walking and has_room() and misses < MAX_MISSES do
    is_walking = false
    for _, model in ipairs(models) do
      local before = #leases
      if has_room() and walk(class, model) then is_walking = true end
      if class == '' and is_behind[model] and #leases > before then
        redis.call('SET', turn_key(model), now)
      end
    end
  end
end
return leases
