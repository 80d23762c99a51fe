-- DROP_LETTERS: forgets dead letters.
--@include _keys.lua
--@include _share.lua
--@include _batch.lua
--@include _dead.lua
-- Arguments: ids of letters.
-- Effects: the letters are gone; the rows of their lines stay as they are.
-- Replies: how many there were.
-- Invariants: a repeated call does nothing.
local num_dropped = 0
for _, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', DEAD, id, id)[1]
  if found then
    remove_letter(found)
    num_dropped = num_dropped + 1
  end
end
return num_dropped
