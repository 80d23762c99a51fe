-- Shared: dead letters. Needs _batch.lua.

-- Copies a job with its body to the dead letters: `death` has cause, message and worker of its last
-- start, `past` what came before.
local function write_letter(bid, model, entry, death, past)
  local fields = fields_of(entry)
  redis.call('XADD', DEAD, '*', 'b', bid, 'm', model, 'i', idx_of(entry[1]), 'c', fields.c,
             'u', fields.u, 'k', fields.k, 'n', past.starts, 'w', death.worker, 'j', fields.j,
             'e', death.cause, 'r', death.message, 'h', past.history or '',
             't', redis.call('HGET', batch_key(bid), 'tenant') or '')
  redis.call('HINCRBY', STAT, 'dead', 1)
end
