-- COMMIT: the result of a lease.
--@include _keys.lua
--@include _share.lua
--@include _past.lua
--@include _batch.lua
-- Arguments: consumer, batch id, model, entry id, fence, outcome, payload; then as TAKE gave them:
--   packed custom id, cost, bytes of the body, hash of what it shares or ''.
-- Effects: if the consumer still holds the lease: the row in the outbox, the bit, the counter; the
--   job is acked and gone; the batch moves to finalizing with its last row.
-- Replies: OK | LAST (that was the batch's last row) | DUP (the line had a result; the job is
--   removed) | GONE (not pending any more: also the answer to a repeated COMMIT) | FENCED.
-- Invariants: nothing changes for a caller that is not the owner with that fence (I4). The first
--   write is the outbox row, which a server without memory refuses: then nothing has changed.
local me, bid, model, id, fence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local refusal = refusal_of(me, bid, model, id, fence)
if refusal then return refusal end
local past = past_of(bid, idx_of(id))
local attempt = past.fence == fence and past.starts or past.starts + 1
local is_new, is_last = finish_job(bid, model, id, ARGV[9], ARGV[10],
                                   {custom_id = ARGV[8], outcome = ARGV[6], worker = me,
                                    attempt = attempt, payload = ARGV[7], history = past.history,
                                    hash = ARGV[11] ~= '' and ARGV[11] or nil})
if is_new == nil then return 'GONE' end
if not is_new then return 'DUP' end
return is_last and 'LAST' or 'OK'
