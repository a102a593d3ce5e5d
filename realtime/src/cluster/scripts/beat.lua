-- A node says that it is alive and how it is. Gives whether it was one of the living until now, and the dead that it shall bury.
-- KEYS: the living, by time of their last sign (ms); what the node says of itself
-- ARGV: node, what it says, ms after which a silent node is dead, prefix of the claims to bury
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lived = redis.call('ZSCORE', KEYS[1], ARGV[1]) and '1' or '0'
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
local answer = { lived }
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[3]))) do
  if redis.call('SET', ARGV[4] .. dead, ARGV[1], 'NX', 'PX', 10000) then answer[#answer + 1] = dead end
end
return answer
