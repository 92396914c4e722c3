-- Evict the oldest excess sockets of an identity, on whichever node they are.
-- KEYS  1 its sockets (sorted set "<node> <sid>" by the time each was added)
-- ARGV  1 the identity's channel  2 how many it may hold  3 the time that is checked (ms)
--       4 ms after which a silent node counts as dead
--       5 how many of the nodes that follow have reported since that time
--       6... the live nodes, those first
-- Returns the time to check next where these still seem too many, else 0.
-- Atomic, because two nodes that check at once must not both evict a socket.
local MAX, CHECKED_MS = tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local live, reported = {}, {}
for at = 6, #ARGV do
  live[ARGV[at]] = true
  reported[ARGV[at]] = at - 5 <= tonumber(ARGV[5])
end
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local sockets, is_unsure = {}, false
for at = 1, #members, 2 do
  local member, added_ms = members[at], tonumber(members[at + 1])
  local node = string.match(member, '^%S+')
  if not live[node] and added_ms < now_ms - ARGV[4] then
    -- A killed node has removed none of its sockets.
    redis.call('ZREM', KEYS[1], member)
  elseif added_ms <= CHECKED_MS then
    if reported[node] then
      sockets[#sockets + 1] = member
    else
      -- The node may be dead, and its clients may have reconnected elsewhere.
      is_unsure = true
    end
  end
end
for at = 1, #sockets - MAX do
  redis.call('ZREM', KEYS[1], sockets[at])
  local sid = string.match(sockets[at], '%S+$')
  redis.call('SPUBLISH', ARGV[1],
    '0\n\n' .. now_ms .. '\nsocket_limit_exceeded\n{"sid":"' .. sid .. '"}')
end
if redis.call('ZCARD', KEYS[1]) <= MAX then
  return 0
end
return is_unsure and CHECKED_MS or now_ms
