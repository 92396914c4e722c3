-- Adds what a node has learned of the speeds in one place; the old fades as the new comes.
-- KEYS  1 the place's paces
-- ARGV  1 memory (s)  2 time to live (s)  then field, metres, seconds for each pace
-- Returns nothing.
local memory = tonumber(ARGV[1])
for i = 3, #ARGV, 3 do
  local metres, seconds = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  if before then
    local m, s = string.match(before, '^(%S+) (%S+)$')
    metres, seconds = metres + tonumber(m), seconds + tonumber(s)
  end
  if seconds > memory then
    metres, seconds = metres * memory / seconds, memory
  end
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.1f %.1f', metres, seconds))
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
