-- Adds what a node has learned: sums and what they weigh; the old fades as the new comes.
-- KEYS  1 a hash, as a place's paces (metres and seconds) or a vendor's times (minutes and orders)
-- ARGV  1 memory, the most that a sum may weigh  2 time to live (s)  then field, sum, weight of each
-- Returns nothing.
local memory = tonumber(ARGV[1])
for i = 3, #ARGV, 3 do
  local sum, weight = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  if before then
    local s, w = string.match(before, '^(%S+) (%S+)$')
    sum, weight = sum + tonumber(s), weight + tonumber(w)
  end
  if weight > memory then
    sum, weight = sum * memory / weight, memory
  end
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.3f %.3f', sum, weight))
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
