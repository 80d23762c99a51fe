-- RETRY: the start of a lease ended without a result, through no fault of the request.
--@include _keys.lua
--@include _share.lua
--@include _past.lua
--@include _batch.lua
--@include _dead.lua
-- Arguments: consumer, batch id, model, entry id, fence, max_attempts, delay_ms, cause, message,
--   payload of the row that says so; then as TAKE gave them: packed custom id, cost, bytes of the
--   body, hash of what it shares or ''.
-- Effects: if the consumer still holds the lease: the start is recorded, and the job is leased out
--   again after delay_ms. After max_attempts starts instead: a dead letter, and the row. A job that
--   takes no more device time ends as that.
-- Replies: LATER | OK | LAST | DUP | GONE | FENCED, all but the first as COMMIT.
-- Invariants: those of COMMIT. The record comes first: a repeated call finds another owner.
local me, bid, model, id, fence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local max_attempts, delay_ms = tonumber(ARGV[6]), tonumber(ARGV[7])
local failure = {cause = ARGV[8], message = ARGV[9], worker = me}
local idx = idx_of(id)

local refusal = refusal_of(me, bid, model, id, fence)
if refusal then return refusal end

local now = now_ms()
local h = redis.call('HMGET', batch_key(bid), 'state', 'expires_at', 'deadlines')
local past = past_of(bid, idx)
if past.fence ~= fence then past.starts, past.fence = past.starts + 1, fence end
local batch = {has_deadlines = h[3], has_cancels = redis.call('EXISTS', cancels_key(bid)) == 1}
local fate = fate_of(h[1], h[2], now) or job_fate(batch, bid, model, id, now)
if not fate and past.starts < max_attempts then
  note_failure(bid, idx, past, failure)
  past.clean, past.fence = past.clean + 1, 0
  save_past(bid, idx, past)
  hold_until(bid, model, id, now + delay_ms)
  redis.call('HINCRBY', STAT, 'retried', 1)
  return 'LATER'
end

if not fate then
  local entry = redis.call('XRANGE', stream_key(bid, model), id, id)[1]
  if entry then write_letter(bid, model, entry, failure, past) end
end
local is_new, is_last = finish_job(bid, model, id, ARGV[12], ARGV[13],
                                   {custom_id = ARGV[11], outcome = fate or 'err', worker = me,
                                    attempt = past.starts, payload = fate and '' or ARGV[10],
                                    history = past.history,
                                    hash = ARGV[14] ~= '' and ARGV[14] or nil})
if is_new == nil then return 'GONE' end
if not is_new then return 'DUP' end
return is_last and 'LAST' or 'OK'
