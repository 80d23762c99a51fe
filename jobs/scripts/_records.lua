-- Shared: files and batches of the endpoint as their clients see them. Needs _keys.lua.
-- A blob goes to `garbage` in the script that takes its last holder away, never before.
local FILE_EXPIRY = PREFIX .. 'file-expiry'
local OPEN = PREFIX .. 'open'
local BLOBS = PREFIX .. 'blobs'
local GARBAGE = PREFIX .. 'garbage'
local SEQUENCE = PREFIX .. 'seq'

local function file_key(id) return PREFIX .. 'f:' .. id end
local function files_key(tenant) return PREFIX .. 'files:' .. tenant end
local function record_key(bid) return PREFIX .. 'r:' .. bid end
local function records_key(tenant) return PREFIX .. 'records:' .. tenant end
local function idempotency_key(tenant, digest)
  return PREFIX .. 'idempotency:' .. tenant .. ':' .. digest
end

local function now_s() return tonumber(redis.call('TIME')[1]) end

local function hold_blob(blob)
  redis.call('HINCRBY', BLOBS, blob, 1)
  redis.call('SREM', GARBAGE, blob)
end

local function release_blob(blob)
  if redis.call('HINCRBY', BLOBS, blob, -1) <= 0 then
    redis.call('HDEL', BLOBS, blob)
    redis.call('SADD', GARBAGE, blob)
  end
end

-- A new file; `lifetime_s` is '' for one that stays.
local function add_file(id, tenant, blob, lifetime_s, fields)
  local F, now = file_key(id), now_s()
  local seq = redis.call('INCR', SEQUENCE)
  redis.call('HSET', F, 'tenant', tenant, 'seq', seq, 'created_at', now, 'blob', blob,
             unpack(fields))
  redis.call('ZADD', files_key(tenant), seq, id)
  hold_blob(blob)
  if lifetime_s ~= '' then
    redis.call('HSET', F, 'expires_at', now + lifetime_s)
    redis.call('ZADD', FILE_EXPIRY, now + lifetime_s, id)
  end
end
