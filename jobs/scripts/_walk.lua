-- The second part of TAKE: the walk over rings and lanes. Uses TAKE's state.

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
      local fields, past = fields_of(entry), {starts = 0, clean = 0}
      local fate = job_fate(batch, batch.id, batch.model, entry[1], now)
      if fate then
        set_aside_as(batch, entry, fate)
        complete_if_done(batch.id)
      elseif is_shared(batch, entry, fields, past) then
        complete_if_done(batch.id)
      else
        spent = spent + math.max(lease_out(batch, entry, fields, 1, past), smallest)
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
    redis.call('LREM', lane, 1, bid)
    redis.call('HDEL', batch_key(bid), 'on:' .. model, 'def:' .. model, 'turn:' .. model)
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
  if batch.is_starved then batch.deficit = math.max(batch.deficit, quantum) end
  local spent, is_empty = 0, false
  if batch.deficit > 0 then spent, is_empty = lease_waiting(batch) end
  if spent > 0 then
    redis.call('ZADD', reap_key(model), 'NX', now + reap_every_ms, bid)
  end
  if is_empty then
    leave_lane(bid, model, batch.tenant, batch.class)
  else
    redis.call('HSET', batch_key(bid), 'def:' .. model, batch.deficit - spent)
    if spent > 0 then redis.call('HSET', batch_key(bid), 'turn:' .. model, now) end
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
