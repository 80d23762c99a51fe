-- RECLAIM_ALL: every lease of a batch is over. The caller guarantees that no worker holds one.
--@include _keys.lua
-- Arguments: batch id.
-- Effects: all leased jobs may be taken at once; starts stay counted, since their process died. Jobs
--   that wait for their time go on waiting.
-- Replies: how many.
-- Invariants: no attempt is spent or given back; former owners are fenced.
local bid = ARGV[1]
local count = 0
for _, model in ipairs(redis.call('SMEMBERS', models_key(bid))) do
  local S = stream_key(bid, model)
  local start = '-'
  while true do
    local pending = redis.pcall('XPENDING', S, GROUP, start, '+', 500)
    if pending.err or #pending == 0 then break end
    for _, lease in ipairs(pending) do
      if lease[2] ~= LATER then
        redis.call('XCLAIM', S, GROUP, NOBODY, 0, lease[1], 'IDLE', RELEASED_IDLE_MS, 'JUSTID')
        count = count + 1
      end
      start = '(' .. lease[1]
    end
  end
  if count > 0 then redis.call('ZADD', reap_key(model), 0, bid) end
end
return count
