-- LOCK: one holder at a time, known by a number that only grows.
--@include _keys.lua
-- Arguments: acquire | renew | release, name of the lock, ttl_ms, token (renew, release).
-- Effects: acquire takes a free lock under a new token; renew and release touch the lock only if
--   the token is still its holder's.
-- Replies: acquire: the token, or 0; renew, release: 1, or 0 if the lock is lost.
-- Invariants: no two holders at one time; a later holder has a higher token.
local verb, ttl_ms, token = ARGV[1], ARGV[3], ARGV[4]
local lock, fence = PREFIX .. 'lock:' .. ARGV[2], PREFIX .. 'fence:' .. ARGV[2]
local holder = redis.call('GET', lock)
if verb == 'acquire' then
  if holder then return 0 end
  local new = redis.call('INCR', fence)
  redis.call('SET', lock, new, 'PX', ttl_ms)
  return new
end
if holder ~= token then return 0 end
if verb == 'renew' then redis.call('PEXPIRE', lock, ttl_ms) else redis.call('DEL', lock) end
return 1
