-- Shared: putting lines into a batch. Needs _batch.lua.

-- One item: idx, packed custom id, model ('' for a finished row), url or outcome, cost, body or
-- payload.
local ITEM_SIZE = 6

-- Puts one job into its stream; an error reply if the stream cannot be used. An id that is there
-- already belongs to a chunk that was torn half-way: it is the same job.
local function add_job(S, id, item, now)
  local reply = redis.pcall('XADD', S, id, 'c', item.custom_id, 'u', item.url, 'k', item.cost,
                            't', now, 'j', item.body)
  if type(reply) ~= 'table' or not reply.err then return nil end
  if string.find(error_text(reply), 'equal or smaller', 1, true)
      and #redis.call('XRANGE', S, id, id) == 1 then return nil end
  return reply
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

-- Adds the items at ARGV[first] onwards; an error reply if a stream cannot be used. The k-th
-- item has the sequence number `sequence` + k in its entry id, so that a chunk that was applied
-- half can be applied again. A line that has a result is skipped; in a batch that is over, a job
-- becomes a row at once.
local function add_items(bid, first, sequence, batch)
  local added = {}
  for k = 1, (#ARGV - first + 1) / ITEM_SIZE do
    local at = first + (k - 1) * ITEM_SIZE
    local idx, custom_id, model, detail, cost, body = unpack(ARGV, at, at + ITEM_SIZE - 1)
    if redis.call('GETBIT', bitmap_key(bid), idx) == 0 then
      if model == '' then
        record(bid, idx, {custom_id = custom_id, outcome = detail, worker = '', attempt = 0,
                          payload = body})
      elseif batch.fate then
        record(bid, idx, {custom_id = custom_id, outcome = batch.fate, worker = '', attempt = 0,
                          payload = ''})
      else
        local S = stream_key(bid, model)
        if not added[model] then
          added[model] = {jobs = 0, tokens = 0, bytes = 0, largest = 0}
          if redis.call('SADD', models_key(bid), model) == 1 then
            redis.pcall('XGROUP', 'CREATE', S, GROUP, '0', 'MKSTREAM')
          end
        end
        local failure = add_job(S, (sequence + k) .. '-' .. idx,
                                {custom_id = custom_id, url = detail, cost = cost, body = body},
                                batch.now)
        if failure then return failure end
        local sum = added[model]
        sum.jobs = sum.jobs + 1
        sum.tokens = sum.tokens + tonumber(cost)
        sum.bytes = sum.bytes + #body
        sum.largest = math.max(sum.largest, tonumber(cost))
      end
    end
  end
  book_added(bid, added, batch)
  return nil
end
