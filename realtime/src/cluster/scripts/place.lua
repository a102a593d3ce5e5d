-- A connection wants a place within a limit that holds over all nodes. Gives whether it has one, and how many are taken.
-- KEYS: connections by node   ARGV: node, limit
local taken = 0
for _, n in ipairs(redis.call('HVALS', KEYS[1])) do taken = taken + tonumber(n) end
if taken >= tonumber(ARGV[2]) then return { 0, taken } end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
return { 1, taken + 1 }
