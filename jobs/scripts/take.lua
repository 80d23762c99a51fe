-- TAKE: leases for a consumer.
--@include _keys.lua
--@include _batch.lua
--@include _reap.lua
-- Arguments: consumer, max_jobs, max_cost (tokens), num_in_flight, lease_ms, max_attempts,
--   burst (jobs), quantum (tokens), reap_every_ms, max_outbox, then the models served.
-- Effects: 1. Expired leases of these models, at most every reap_every_ms for each batch: a new
--   lease; or, after max_attempts starts, a dead letter and an `err` row. A job at its last
--   attempt is leased alone, to a consumer with nothing in flight; a consumer that finds one
--   while busy gets no more work until it is empty and then runs it.
--   2. Waiting jobs by surplus round robin over tenants, and over the batches of each; interactive
--   batches before all others. Both levels count tokens, a job for at least quantum / burst of
--   them. A tenant or batch that overdrew its share waits until later rounds have paid for it, so
--   every waiting job is reached. Batches whose outbox is full are passed over; jobs of cancelled
--   and expired batches become rows.
--   A batch with a key that is missing or of a wrong type moves to `broken`; the others go on.
-- Replies: leases {batch, model, entry id, fence, attempt, is_last, packed custom id, url, cost,
--   body, enqueued_ms, progress}. Their cost exceeds max_cost by less than the last job's.
-- Invariants: the delivery count of a pending entry only grows and is the fence of its lease
--   (I4); attempts count starts, not deliveries; only the Redis clock judges leases (I9).
local me, max_jobs, max_cost = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local in_flight, lease_ms, max_attempts = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local burst, quantum = tonumber(ARGV[7]), tonumber(ARGV[8])
local reap_every_ms, max_outbox = tonumber(ARGV[9]), tonumber(ARGV[10])
local models = {unpack(ARGV, 11)}

local MAX_REAPED_BATCHES = 8
local MAX_MISSES = 128 -- steps of the walk that gave nothing
local ROWS_PER_STEP = 200

local now = now_ms()
local leases, cost = {}, 0
local is_alone = false -- just leased a last attempt: nothing beside it
local is_emptying = false -- will lease one as soon as nothing is in flight
local misses = 0
local blocked = {} -- streams passed over in this call, since their sink lags
local fruitless = {} -- by ring: steps since the last one that gave a job

local function has_room()
  return not is_alone and not is_emptying and #leases < max_jobs and cost < max_cost
end

local function load_batch(bid, model)
  local h = redis.call('HMGET', batch_key(bid), 'state', 'expires_at', 'sink', 'tenant', 'class',
                       'share', 'def:' .. model, 'largest:' .. model)
  local batch = {id = bid, model = model, state = h[1], sink = h[3], tenant = h[4], class = h[5]}
  batch.fate = fate_of(h[1], h[2], now)
  batch.share = tonumber(h[6] or '1')
  batch.deficit = tonumber(h[7] or '0')
  batch.largest = tonumber(h[8] or '0')
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

local function lease_out(batch, entry, fence, starts)
  local fields = fields_of(entry)
  local progress = ''
  if fence > 1 then
    progress = redis.call('HGET', attempts_key(batch.id), idx_of(entry[1]) .. ':p') or ''
  end
  local is_last = starts > 0 and starts == max_attempts - 1
  leases[#leases + 1] = {batch.id, batch.model, entry[1], fence, starts + 1, is_last and 1 or 0,
                         fields.c, fields.u, fields.k, fields.j, fields.t, progress}
  cost = cost + tonumber(fields.k)
  is_alone = is_last
  return tonumber(fields.k)
end

local function is_cancelled(bid, id)
  return redis.call('SISMEMBER', cancels_key(bid), idx_of(id)) == 1
end

-- Ends a job that takes no more device time.
local function finish_as_row(batch, entry, outcome, starts)
  finish_entry(batch.id, batch.model, entry,
               {outcome = outcome, worker = '', attempt = starts, payload = ''})
end

-- After its last attempt: the job with its body into the dead letters, an error row to its sink.
local function bury(batch, entry, starts, last_owner)
  local fields = fields_of(entry)
  redis.call('XADD', DEAD, '*', 'b', batch.id, 'm', batch.model, 'i', idx_of(entry[1]),
             'c', fields.c, 'u', fields.u, 'k', fields.k, 'n', starts, 'w', last_owner,
             'j', fields.j)
  redis.call('HINCRBY', STAT, 'dead', 1)
  finish_entry(batch.id, batch.model, entry,
               {outcome = 'err', worker = last_owner, attempt = starts, payload = '',
                code = 'max_deliveries_exceeded'})
end

local function reclaim(batch, lease, entry, starts, last_start)
  redis.call('XCLAIM', stream_key(batch.id, batch.model), GROUP, me, 0, lease[1],
             'RETRYCOUNT', lease[4] + 1, 'JUSTID')
  local was_started = starts > 0 and last_start == lease[4]
  redis.call('HINCRBY', STAT, was_started and 'reclaimed' or 'restored', 1)
  lease_out(batch, entry, lease[4] + 1, starts)
end

-- Looks at one expired lease; a last attempt is left for a consumer that is empty.
local function reap_one(batch, lease)
  local entry = pending_entry(stream_key(batch.id, batch.model), lease[1])
  if not entry then return end
  local starts, last_start = starts_of(batch.id, idx_of(lease[1]))
  local is_last = starts > 0 and starts == max_attempts - 1
  if is_cancelled(batch.id, lease[1]) then
    finish_as_row(batch, entry, 'cancelled', starts)
  elseif starts >= max_attempts then
    bury(batch, entry, starts, lease[2])
  elseif is_last and (in_flight > 0 or #leases > 0) then
    redis.call('HINCRBY', STAT, 'deferred', 1)
    is_emptying = redis.call('SET', alone_key(batch.model), me .. '\n' .. batch.id,
                             'NX', 'PX', lease_ms) and true or is_emptying
  else
    reclaim(batch, lease, entry, starts, last_start)
  end
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
        if starts_of(bid, idx_of(lease[1])) == max_attempts - 1 then
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
      reap_one(batch, lease)
    end
    complete_if_done(bid)
  end
  plan_next_look(bid, model, is_more, now, reap_every_ms)
end

-- Up to the batch's share of waiting jobs; their cost in shares, and whether the stream is empty.
local function lease_waiting(batch)
  local smallest = quantum / burst
  local spent = 0
  while has_room() and batch.deficit > spent do
    local unit = math.max(batch.largest, smallest, 1)
    local count = math.floor(math.min(batch.deficit - spent, max_cost - cost) / unit)
    count = math.max(1, math.min(count, burst, max_jobs - #leases))
    local reply = redis.call('XREADGROUP', 'GROUP', GROUP, me, 'COUNT', count,
                             'STREAMS', stream_key(batch.id, batch.model), '>')
    local entries = reply and reply[1] and reply[1][2] or {}
    for _, entry in ipairs(entries) do
      if is_cancelled(batch.id, entry[1]) then
        finish_as_row(batch, entry, 'cancelled', 0)
        complete_if_done(batch.id)
      else
        spent = spent + math.max(lease_out(batch, entry, 1, 0), smallest)
      end
    end
    if #entries < count then return spent, true end
  end
  return spent, false
end

-- Moves the head of a list to its end. A poll that changes nothing writes nothing.
local function rotate(list)
  if redis.call('LLEN', list) > 1 then redis.call('LMOVE', list, list, 'LEFT', 'RIGHT') end
end

-- The deficit for a turn: a share more if it is used up. Who stands alone in the list owes nobody
-- anything.
local function replenish(deficit, share, list)
  if deficit > 0 then return deficit end
  if deficit + share <= 0 and redis.call('LLEN', list) == 1 then return share end
  return deficit + share
end

-- One step with the batch at the head of a lane. Replies what it cost the tenant, 0 if the batch
-- must wait for its share (the tenant's next one is tried), nil if the tenant's turn should pass.
local function visit(batch, lane)
  local bid, model = batch.id, batch.model
  if not batch.is_running then
    redis.call('LREM', lane, 0, bid)
    redis.call('HDEL', batch_key(bid), 'on:' .. model, 'def:' .. model)
    return nil
  end
  if outbox_is_full(bid, batch.sink, max_outbox) then
    blocked[model .. '\n' .. bid] = true
    rotate(lane)
    return nil
  end
  if batch.fate then
    if queued_as_rows(bid, model, batch.fate, ROWS_PER_STEP) < ROWS_PER_STEP then
      leave_lane(bid, model, batch.tenant, batch.class)
    end
    complete_if_done(bid)
    return nil
  end
  batch.deficit = replenish(batch.deficit, quantum * batch.share, lane)
  local spent, is_empty = 0, false
  if batch.deficit > 0 then spent, is_empty = lease_waiting(batch) end
  if spent > 0 then
    redis.call('ZADD', reap_key(model), 'NX', now + reap_every_ms, bid)
  end
  if is_empty then
    leave_lane(bid, model, batch.tenant, batch.class)
  else
    redis.call('HSET', batch_key(bid), 'def:' .. model, batch.deficit - spent)
    if batch.deficit - spent <= 0 then rotate(lane) end
  end
  return spent
end

-- One step of the walk over a ring; false if the ring is empty, or has come round to a batch that
-- was passed over without giving anything meanwhile.
local function walk(class, model)
  local ring, deficits = ring_key(class, model), deficits_key(class, model)
  local tenant = redis.call('LINDEX', ring, 0)
  if not tenant then return false end
  local lane = lane_key(class, tenant, model)
  local bid = redis.call('LINDEX', lane, 0)
  if not bid then
    redis.call('LREM', ring, 0, tenant)
    redis.call('HDEL', deficits, tenant)
    return true
  end
  fruitless[ring] = (fruitless[ring] or 0) + 1
  if blocked[model .. '\n' .. bid] then
    if fruitless[ring] > redis.call('LLEN', ring) then return false end
    misses = misses + 1
    rotate(ring)
    return true
  end
  local weight = tonumber(redis.call('HGET', TENANTS, tenant) or '1')
  local before = tonumber(redis.call('HGET', deficits, tenant) or '0')
  local deficit = replenish(before, quantum * weight, ring)
  local spent = nil
  if deficit > 0 then
    spent = guarded(bid, class, tenant, model, function()
      return visit(load_batch(bid, model), lane)
    end)
  end
  if not spent or spent == 0 then misses = misses + 1 else fruitless[ring] = 0 end
  deficit = deficit - (spent or 0)
  if deficit ~= before then redis.call('HSET', deficits, tenant, deficit) end
  if deficit <= 0 or not spent then rotate(ring) end
  return true
end

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

for _, class in ipairs({'-interactive', ''}) do
  local is_walking = true
  misses = 0
  while is_walking and has_room() and misses < MAX_MISSES do
    is_walking = false
    for _, model in ipairs(models) do
      if has_room() and walk(class, model) then is_walking = true end
    end
  end
end
return leases
