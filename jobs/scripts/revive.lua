-- REVIVE: dead letters become jobs again, with all their attempts.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
--@include _dead.lua
--@include _add.lua
--@include _create.lua
-- Arguments: id of a new batch, a random epoch, number of parts of its hash, those (as CREATE), then
--   ids of letters.
-- Effects: each letter goes and its job comes back: into its own batch, if that takes jobs and no sink
--   has the error row yet, which then goes too; else as a line of the new batch, which is made for
--   them and holds nothing else.
-- Replies: for each letter the batch id and the idx of its job; '' and -1 if there is no such letter
--   (any more). An error reply if a stream cannot be used; earlier letters have come back then.
-- Invariants: a line has one row (I2, I3): its error row is taken back in the same step, or stays and
--   the new row belongs to a line of another batch. A repeated call does nothing.
local new_bid, epoch, num_fields = ARGV[1], ARGV[2], tonumber(ARGV[3])
local fields_of_new = {unpack(ARGV, 4, 3 + num_fields)}
local first_letter = 4 + num_fields
local MAX_ROWS_OF_A_MOMENT = 1000
local MOMENT_MS = 20 -- a letter and its row are written by one script, under clocks of their own

local now = now_ms()

-- The row that was written with a letter; nil if a sink has it or may have it.
local function row_of(bid, letter_id, idx)
  local collected = redis.call('HGET', batch_key(bid), 'collected') or '0-0'
  local at = tonumber(string.match(letter_id, '^(%d+)'))
  local rows = redis.pcall('XRANGE', outbox_key(bid), at - MOMENT_MS, at + MOMENT_MS,
                           'COUNT', MAX_ROWS_OF_A_MOMENT)
  if rows.err then return nil end
  local newest_ms, newest_k = string.match(collected, '^(%d+)-(%d+)$')
  for _, row in ipairs(rows) do
    if fields_of(row).i == idx then
      local ms, k = string.match(row[1], '^(%d+)-(%d+)$')
      ms, k, newest_ms, newest_k = tonumber(ms), tonumber(k), tonumber(newest_ms), tonumber(newest_k)
      local is_free = ms > newest_ms or (ms == newest_ms and k > newest_k)
      return is_free and row or nil
    end
  end
  return nil
end

-- Takes the row of a line back, so that it has none; false if that is too late, as it always is for
-- a line whose client waits: it was told of its row.
local function take_back(letter, letter_id)
  if is_online(letter.b) then return false end
  local B = batch_key(letter.b)
  local h = redis.call('HMGET', B, 'state', 'was', 'expires_at')
  local is_open = h[1] == 'in_progress' or (h[1] == 'finalizing' and h[2] == 'in_progress')
  if not is_open or (h[3] and tonumber(h[3]) <= now) then return false end
  local row = row_of(letter.b, letter_id, letter.i)
  if not row then return false end
  local fields = fields_of(row)
  redis.call('XDEL', outbox_key(letter.b), row[1])
  count_error(letter.b, fields.e, fields.r, -1)
  redis.call('SETBIT', bitmap_key(letter.b), letter.i, 0)
  redis.call('HINCRBY', B, 'err', -1)
  redis.call('HSET', B, 'state', 'in_progress')
  redis.call('HDEL', B, 'was', 'finalizing_at')
  redis.call('SREM', FINALIZING, letter.b)
  return true
end

-- Adds the job of a letter to a batch as a line with this idx.
local function add_again(bid, idx, letter)
  local B = batch_key(bid)
  local h = redis.call('HMGET', B, 'tenant', 'class', 'enq', 'again')
  local failure = add_item(bid, tonumber(h[3]) + tonumber(h[4]) + 1,
                           {idx = idx, custom_id = letter.c, model = letter.m, url = letter.u,
                            cost = letter.k, body = letter.j, ttl = '', hash = ''},
                           {tenant = h[1], class = h[2], now = now})
  if failure then return failure end
  redis.call('HINCRBY', B, 'again', 1)
  return nil
end

local places, num_new = {}, 0
for k = first_letter, #ARGV do
  local found = redis.call('XRANGE', DEAD, ARGV[k], ARGV[k])[1]
  local letter = found and fields_of(found)
  local bid, idx = '', -1
  if letter then
    if take_back(letter, ARGV[k]) then
      bid, idx = letter.b, letter.i
    else
      if num_new == 0 then create_batch(new_bid, epoch, fields_of_new) end
      bid, idx = new_bid, num_new
      num_new = num_new + 1
    end
    local failure = add_again(bid, idx, letter)
    if failure then
      redis.call('SADD', BROKEN, bid)
      return failure
    end
    remove_letter(found)
    redis.call('HINCRBY', STAT, 'revived', 1)
  end
  places[#places + 1] = bid
  places[#places + 1] = tonumber(idx)
end
if num_new > 0 then
  redis.call('HSET', batch_key(new_bid), 'enq', num_new, 'again', 0, 'enq_done', 1,
             'total', num_new)
end
return places
