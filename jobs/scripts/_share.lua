-- Shared: one computation for several jobs of a batch that have the same answer (the same hash).
-- Needs _keys.lua. The first of them that is leased is the leader; the others wait for it, then
-- get a row with its payload, or another leader if it brought no result.
-- Invariants kept here: results are kept for a bounded number of hashes and for those that somebody
-- waits for; a follower waits for a leader only while that has a job.

local MAX_KEPT = 1000 -- results of one batch that jobs to come may share
local MAX_KEPT_BYTES = 65536 -- a larger one is kept only for those who wait for it now
local MAX_WOKEN = 64

-- Makes followers of a hash due, some at a time: each of them wakes more when it ends.
local function wake_followers(bid, model, hash)
  local F = followers_key(bid, hash)
  local ids = redis.call('LRANGE', F, 0, MAX_WOKEN - 1)
  if #ids == 0 then return end
  for _, id in ipairs(ids) do redis.call('ZADD', later_key(model), 0, bid .. ':' .. id) end
  redis.call('LTRIM', F, #ids, -1)
end

local function keep_result(bid, id, row)
  local is_awaited = redis.call('EXISTS', followers_key(bid, row.hash)) == 1
  if #row.payload > MAX_KEPT_BYTES and not is_awaited then return end
  local G, K = shared_key(bid), kept_key(bid)
  redis.call('HSET', G, 'r:' .. row.hash, idx_of(id) .. '\n' .. row.payload)
  local num_kept = redis.call('RPUSH', K, row.hash)
  for _ = 1, math.min(num_kept - MAX_KEPT, 4) do
    local oldest = redis.call('LPOP', K)
    if redis.call('EXISTS', followers_key(bid, oldest)) == 1 then redis.call('RPUSH', K, oldest)
    else redis.call('HDEL', G, 'r:' .. oldest) end
  end
end

-- A job with a hash has its row: others with that hash may go on.
local function end_share(bid, model, id, row)
  local G = shared_key(bid)
  if redis.call('HGET', G, 'l:' .. row.hash) == id then
    if row.outcome == 'ok' then keep_result(bid, id, row) end
    redis.call('HDEL', G, 'l:' .. row.hash)
  end
  wake_followers(bid, model, row.hash)
end

-- The result that a job with this hash may share: the leader's idx and payload; nil if none.
local function shared_result(bid, hash)
  local kept = redis.call('HGET', shared_key(bid), 'r:' .. hash)
  if not kept then return nil end
  local cut = string.find(kept, '\n', 1, true)
  return {from = string.sub(kept, 1, cut - 1), payload = string.sub(kept, cut + 1)}
end

-- Whether this job is the one that computes for its hash; it is from now on if nobody else is.
local function is_leader(bid, model, id, hash)
  local G = shared_key(bid)
  local leader = redis.call('HGET', G, 'l:' .. hash)
  if leader == id then return true end
  if leader and #redis.call('XPENDING', stream_key(bid, model), GROUP, leader, leader, 1) == 1 then
    return false
  end
  redis.call('HSET', G, 'l:' .. hash, id)
  return true
end

local function forget_shared(bid)
  local fields = redis.pcall('HKEYS', shared_key(bid)) -- an error if somebody replaced it
  for _, field in ipairs(fields) do
    redis.call('DEL', followers_key(bid, string.sub(field, 3)))
  end
  redis.call('DEL', shared_key(bid), kept_key(bid))
end
