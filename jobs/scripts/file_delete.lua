-- FILE_DELETE: forgets a file.
--@include _keys.lua
--@include _records.lua
-- Arguments: file id, tenant, how long its place in the list is remembered (seconds).
-- Effects: the file leaves the lists and gives its blob up. A short note stays, so that a client
--   that deletes while it pages can go on after the deleted file.
-- Replies: 1, or 0 if the tenant has no such file.
local id, tenant, remember_s = ARGV[1], ARGV[2], ARGV[3]
local F = file_key(id)
local h = redis.call('HMGET', F, 'tenant', 'seq', 'blob', 'deleted')
if h[1] ~= tenant or h[4] then return 0 end
redis.call('DEL', F)
redis.call('HSET', F, 'tenant', tenant, 'seq', h[2], 'deleted', 1)
redis.call('EXPIRE', F, remember_s)
redis.call('ZREM', files_key(tenant), id)
redis.call('ZREM', FILE_EXPIRY, id)
release_blob(h[3])
return 1
