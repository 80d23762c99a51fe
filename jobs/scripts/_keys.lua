-- Shared: every key of the queue as jobs/keys.py names them, the clock, and error texts.
-- KEYS[1] is the prefix of all keys; it carries the hash tag, so one slot holds them all.
local PREFIX = KEYS[1]
local GROUP = 'g'
local NOBODY = '-' -- owner of leases that were given back: any former owner is fenced
local LATER = '~' -- owner of jobs that wait for their time in `later`
local RELEASED_IDLE_MS = 86400000 -- idle time of a lease that may be reclaimed at once

local ACTIVE = PREFIX .. 'active'
local BACKLOG = PREFIX .. 'backlog'
local BATCHES = PREFIX .. 'batches'
local BROKEN = PREFIX .. 'broken'
local DEAD = PREFIX .. 'dead'
local EPOCH = PREFIX .. 'epoch'
local FINALIZING = PREFIX .. 'fin'
local STAT = PREFIX .. 'stat'
local TENANTS = PREFIX .. 'tenants'

local function batch_key(bid) return PREFIX .. 'b:' .. bid end
local function stream_key(bid, model) return PREFIX .. 's:' .. bid .. ':' .. model end
local function models_key(bid) return PREFIX .. 'n:' .. bid end
local function bitmap_key(bid) return PREFIX .. 'm:' .. bid end
local function outbox_key(bid) return PREFIX .. 'o:' .. bid end
local function attempts_key(bid) return PREFIX .. 'a:' .. bid end
local function cancels_key(bid) return PREFIX .. 'x:' .. bid end
local function deadlines_key(bid) return PREFIX .. 'e:' .. bid end
local function shared_key(bid) return PREFIX .. 'g:' .. bid end
local function kept_key(bid) return PREFIX .. 'k:' .. bid end
local function followers_key(bid, hash) return PREFIX .. 'w:' .. bid .. ':' .. hash end

local function tokens_key(bid, idx) return PREFIX .. 't:' .. bid .. ':' .. idx end
local function submission_key(bid, idx) return PREFIX .. 'u:' .. bid .. ':' .. idx end

-- Whether a batch is one of waiting clients: it never ends, and a line is forgotten with its row.
local function is_online(bid) return string.sub(bid, 1, 7) == 'online-' end

-- `class` is '' or '-interactive'.
local function ring_key(class, model) return PREFIX .. 'ring' .. class .. ':' .. model end
local function lane_key(class, tenant, model)
  return PREFIX .. 'lane' .. class .. ':' .. tenant .. ':' .. model
end
local function deficits_key(class, model) return PREFIX .. 'deficit' .. class .. ':' .. model end
local function reap_key(model) return PREFIX .. 'reap:' .. model end
local function alone_key(model) return PREFIX .. 'alone:' .. model end
local function later_key(model) return PREFIX .. 'later:' .. model end
local function turn_key(model) return PREFIX .. 'turn:' .. model end

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- What pcall caught, as text: a table on servers, an opaque value on the in-process fake.
local function error_text(caught)
  if type(caught) == 'table' and caught.err then return tostring(caught.err) end
  return tostring(caught)
end

local KEY_ERRORS = {'WRONGTYPE', 'NOGROUP', 'requires the key to exist'} -- the last: the fake

-- Whether what pcall caught says that a key of a batch is missing or of a wrong type.
local function is_key_error(caught)
  local text = error_text(caught)
  for _, known in ipairs(KEY_ERRORS) do
    if string.find(text, known, 1, true) then return true end
  end
  return false
end

-- 'hash', 'stream', ..., 'none'.
local function type_of(key)
  local reply = redis.call('TYPE', key)
  return type(reply) == 'table' and reply.ok or reply
end

-- A stream entry's flat field list as a table.
local function fields_of(entry)
  local fields = {}
  for k = 1, #entry[2], 2 do fields[entry[2][k]] = entry[2][k + 1] end
  return fields
end

-- The line number that is the second half of an entry id.
local function idx_of(id) return string.match(id, '%-(%d+)$') end
