-- Shared: putting lines into a batch. Needs _batch.lua.

-- One item: idx, packed custom id, model ('' for a finished row), url or outcome, cost, body or
-- payload, ms that the job may take from now on ('' for as long as its batch), the hash that it
-- shares with jobs of the same answer ('' for none).
local ITEM_SIZE = 8

-- Puts one job into its stream; an error reply if the stream cannot be used. An id that is there
-- already belongs to a chunk that was torn half-way: it is the same job.
local function add_job(S, id, item, now)
  local entry = {'c', item.custom_id, 'u', item.url, 'k', item.cost, 't', now, 'j', item.body}
  if item.hash ~= '' then
    entry[#entry + 1] = 'h'
    entry[#entry + 1] = item.hash
  end
  local reply = redis.pcall('XADD', S, id, unpack(entry))
  if type(reply) ~= 'table' or not reply.err then return nil end
  if string.find(error_text(reply), 'equal or smaller', 1, true)
      and #redis.call('XRANGE', S, id, id) == 1 then return nil end
  return reply
end

-- Before the job itself, so that no job can be there without it.
local function set_deadline(bid, model, id, at)
  redis.call('ZADD', deadlines_key(bid), at, id .. ':' .. model)
  redis.call('HSET', batch_key(bid), 'deadlines', 1)
end

-- Jobs and body bytes in the whole namespace.
local function backlog_size()
  local fields, depth, bytes = redis.call('HGETALL', BACKLOG), 0, 0
  for k = 1, #fields, 2 do
    if fields[k] == 'bytes' then bytes = tonumber(fields[k + 1])
    elseif string.sub(fields[k], 1, 5) == 'jobs:' then depth = depth + tonumber(fields[k + 1]) end
  end
  return depth, bytes
end

-- Books what was added to each model's stream and makes TAKE find it.
local function book_added(bid, added, batch)
  for model, sum in pairs(added) do
    local largest = tonumber(redis.call('HGET', batch_key(bid), 'largest:' .. model) or '0')
    if sum.largest > largest then
      redis.call('HSET', batch_key(bid), 'largest:' .. model, sum.largest)
    end
    join_lane(bid, model, batch.tenant, batch.class)
    count_jobs(bid, model, sum.jobs, sum.tokens, sum.bytes)
  end
end

-- Adds one job to its stream; an error reply if that cannot be used. `sums` collects what was added
-- by model, nil: it is booked at once.
local function add_item(bid, sequence, item, batch, sums)
  local model = item.model
  local added = sums or {}
  if not added[model] then
    added[model] = {jobs = 0, tokens = 0, bytes = 0, largest = 0}
    if redis.call('SADD', models_key(bid), model) == 1 then
      redis.pcall('XGROUP', 'CREATE', stream_key(bid, model), GROUP, '0', 'MKSTREAM')
    end
  end
  local id = sequence .. '-' .. item.idx
  if item.ttl ~= '' then set_deadline(bid, model, id, batch.now + tonumber(item.ttl)) end
  local failure = add_job(stream_key(bid, model), id, item, batch.now)
  if failure then return failure end
  local sum, cost = added[model], tonumber(item.cost)
  sum.jobs = sum.jobs + 1
  sum.tokens = sum.tokens + cost
  sum.bytes = sum.bytes + #item.body
  sum.largest = math.max(sum.largest, cost)
  if not sums then book_added(bid, added, batch) end
  return nil
end

-- Adds the items at ARGV[first] onwards; an error reply if a stream cannot be used. The k-th
-- item has the sequence number `sequence` + k in its entry id, so that a chunk that was applied
-- half can be applied again. A line that has a result is skipped; in a batch that is over, a job
-- becomes a row at once.
local function add_items(bid, first, sequence, batch)
  local added = {}
  for k = 1, (#ARGV - first + 1) / ITEM_SIZE do
    local at = first + (k - 1) * ITEM_SIZE
    local idx, custom_id, model, detail, cost, body, ttl, hash =
      unpack(ARGV, at, at + ITEM_SIZE - 1)
    if redis.call('GETBIT', bitmap_key(bid), idx) == 0 then
      if model == '' or batch.fate then
        record(bid, idx, {custom_id = custom_id, outcome = model == '' and detail or batch.fate,
                          worker = '', attempt = 0, payload = model == '' and body or ''})
      else
        local failure = add_item(bid, sequence + k,
                                 {idx = idx, custom_id = custom_id, model = model, url = detail,
                                  cost = cost, body = body, ttl = ttl, hash = hash},
                                 batch, added)
        if failure then return failure end
      end
    end
  end
  book_added(bid, added, batch)
  return nil
end
