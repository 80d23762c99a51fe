-- FILE_CREATE: makes an uploaded blob a file.
--@include _keys.lua
--@include _records.lua
-- Arguments: file id, tenant, blob, lifetime_s ('' for ever), then field, value, ... of the file.
-- Effects: the file's hash with its times, its place in the tenant's list, a hold on the blob.
-- Replies: 1, or 0 if the id exists (nothing is changed then).
local id, tenant, blob, lifetime_s = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('EXISTS', file_key(id)) == 1 then return 0 end
add_file(id, tenant, blob, lifetime_s, {unpack(ARGV, 5)})
return 1
