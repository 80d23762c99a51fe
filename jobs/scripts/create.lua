-- CREATE: announces a batch.
--@include _keys.lua
--@include _create.lua
-- Arguments: batch id, a random epoch, then field, value, ... of the batch hash.
-- Effects: the hash in state in_progress; the batch in `batches` and `active`; the epoch if none.
-- Replies: 1, or 0 if the batch exists already (nothing is changed then).
-- Invariants: a batch id names one batch for as long as its hash lives.
return create_batch(ARGV[1], ARGV[2], {unpack(ARGV, 3)}) and 1 or 0
