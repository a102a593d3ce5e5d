-- A node tells its part of a channel: its connections, and the users who came or went there. Gives all nodes' connections, and
-- what that changed for the channel as a whole; the others who hold the channel are told.
-- KEYS: parts by node, users ("node|user" -> info), counts by channel, the node's channels, the channel's topic
-- ARGV: node, channel, connections, known (1: the node had told a part before, which Redis may have lost), grace in ms (0: ends
--       don't wait), counted (1: the channel is listed), number of users added, (user, info, known)*, removed users* or "*" for
--       all of the node's
-- Facts are triples: kind, user, time (ms).
local parts, users, counts, own, topic = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local me, channel, subs = ARGV[1], ARGV[2], tonumber(ARGV[3])
local known, wait, counted = ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6] == '1'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local facts, others, total, before = {}, {}, subs, known
local held = redis.call('HGETALL', parts)
for i = 1, #held, 2 do
  if held[i] == me then
    before = true
  elseif held[i] ~= '~' then
    others[#others + 1] = held[i]
    total = total + tonumber(held[i + 1])
  end
end

local function elsewhere(user)
  for _, node in ipairs(others) do
    if redis.call('HEXISTS', users, node .. '|' .. user) == 1 then return true end
  end
  return false
end
-- Takes an end back that still waits.
local function returns(key, field)
  local since = redis.call('HGET', key, field)
  if not since then return false end
  redis.call('HDEL', key, field)
  return now - tonumber(since) < wait
end
local function fact(kind, user)
  facts[#facts + 1] = kind
  facts[#facts + 1] = user or ''
  facts[#facts + 1] = string.format('%d', now)
end

local removed, told = {}, {}
local added = tonumber(ARGV[7])
local at = 8 + 3 * added
if ARGV[at] == '*' then
  local prefix = me .. '|'
  for _, field in ipairs(redis.call('HKEYS', users)) do
    if string.sub(field, 1, #prefix) == prefix then removed[#removed + 1] = string.sub(field, #prefix + 1) end
  end
else
  for i = at, #ARGV do removed[#removed + 1] = ARGV[i] end
end

if subs > 0 then
  if redis.call('HSET', parts, me, subs) == 1 then
    redis.call('SADD', own, channel)
    redis.call('PERSIST', parts)
    redis.call('PERSIST', users)
  end
  if #others == 0 and not before then
    fact(returns(parts, '~') and 'back' or 'occupied')
  end
end
for i = 0, added - 1 do
  local user, info, hush = ARGV[8 + 3 * i], ARGV[9 + 3 * i], ARGV[10 + 3 * i] == '1'
  if redis.call('HSET', users, me .. '|' .. user, info) == 1 and not elsewhere(user) and not hush then
    fact(returns(users, '~|' .. user) and 'rejoined' or 'joined', user)
  end
  told[#told + 1] = user
  told[#told + 1] = info
end
for _, user in ipairs(removed) do
  if (redis.call('HDEL', users, me .. '|' .. user) == 1 or known) and not elsewhere(user) then
    fact('left', user)
    if wait > 0 then redis.call('HSET', users, '~|' .. user, string.format('%d', now)) end
  end
end
if subs == 0 then
  redis.call('HDEL', parts, me)
  redis.call('SREM', own, channel)
  if before and #others == 0 then
    fact('vacated')
    if wait > 0 then
      redis.call('HSET', parts, '~', string.format('%d', now))
      redis.call('PEXPIRE', parts, wait * 4)
    end
    redis.call('PEXPIRE', users, wait * 4 + 1)
  end
end
if counted then
  if total > 0 then redis.call('HSET', counts, channel, total) else redis.call('HDEL', counts, channel) end
end

local message = { 'S', me, tostring(subs), tostring(added) }
for _, part in ipairs(told) do message[#message + 1] = part end
for _, user in ipairs(removed) do message[#message + 1] = user end
for i, part in ipairs(message) do message[i] = #part .. ':' .. part end
redis.call('PUBLISH', topic, table.concat(message))
table.insert(facts, 1, tostring(total))
return facts
