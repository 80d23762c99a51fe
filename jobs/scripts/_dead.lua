-- Shared: dead letters. Needs _batch.lua.
-- Invariant kept here: there are at most MAX_LETTERS letters with MAX_LETTER_BYTES bytes of bodies;
-- the oldest go first, and are counted.

local MAX_LETTERS = 10000
local MAX_LETTER_BYTES = 67108864

-- Removes a letter that was read; its job is not touched.
local function remove_letter(entry)
  redis.call('XDEL', DEAD, entry[1])
  redis.call('HINCRBY', STAT, 'dead_bytes', 0 - #fields_of(entry).j)
end

local function bound_letters()
  local left = redis.call('XLEN', DEAD)
  local bytes = tonumber(redis.call('HGET', STAT, 'dead_bytes'))
  while left > 1 and (left > MAX_LETTERS or bytes > MAX_LETTER_BYTES) do
    local oldest = redis.call('XRANGE', DEAD, '-', '+', 'COUNT', 1)[1]
    remove_letter(oldest)
    redis.call('HINCRBY', STAT, 'dead_dropped', 1)
    left, bytes = left - 1, bytes - #fields_of(oldest).j
  end
  -- What a torn script or a foreign hand left uncounted ends here.
  if left == 1 then
    local only = redis.call('XRANGE', DEAD, '-', '+', 'COUNT', 1)[1]
    redis.call('HSET', STAT, 'dead_bytes', #fields_of(only).j)
  end
end

-- Copies a job with its body to the dead letters: `death` has cause, message and worker of its last
-- start, `past` what came before.
local function write_letter(bid, model, entry, death, past)
  local fields = fields_of(entry)
  redis.call('XADD', DEAD, '*', 'b', bid, 'm', model, 'i', idx_of(entry[1]), 'c', fields.c,
             'u', fields.u, 'k', fields.k, 'n', past.starts, 'w', death.worker, 'j', fields.j,
             'e', death.cause, 'r', death.message, 'h', past.history or '',
             't', redis.call('HGET', batch_key(bid), 'tenant') or '')
  redis.call('HINCRBY', STAT, 'dead', 1)
  redis.call('HINCRBY', STAT, 'dead_bytes', #fields.j)
  bound_letters()
end
