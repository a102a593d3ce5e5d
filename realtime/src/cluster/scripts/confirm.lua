-- An end has waited long enough. Gives 1 if nobody came back and nobody else told it.
-- KEYS: a hash of a channel   ARGV: its field, when the end began (ms)
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
