-- Tells a node what all others have of a channel, by the way on which it hears of the channel's changes: what it heard before
-- is older than this, what it hears after is newer.
-- KEYS: parts by node, users, the cached event   ARGV: node, its topic, app, channel
local message = { 'L', ARGV[3], ARGV[4] }
local function list(key, skip)
  local at, n = #message + 1, 0
  message[at] = '0'
  local held = redis.call('HGETALL', key)
  for i = 1, #held, 2 do
    if not skip(held[i]) then
      message[#message + 1] = held[i]
      message[#message + 1] = held[i + 1]
      n = n + 1
    end
  end
  message[at] = tostring(n)
end
local mine = ARGV[1] .. '|'
list(KEYS[1], function(node) return node == ARGV[1] or node == '~' end)
list(KEYS[2], function(field) return string.sub(field, 1, #mine) == mine or string.sub(field, 1, 2) == '~|' end)
local cached = redis.call('GET', KEYS[3])
if cached then
  message[#message + 1] = cached
  message[#message + 1] = tostring(redis.call('PTTL', KEYS[3]))
end
for i, part in ipairs(message) do message[i] = #part .. ':' .. part end
redis.call('PUBLISH', ARGV[2], table.concat(message))
return 1
