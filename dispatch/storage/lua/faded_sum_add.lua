-- Add samples to faded sums: a sum and its weight, scaled down where the weight exceeds its maximum,
-- so that older samples fade.
-- KEYS  1 hash field -> "<sum> <weight>", such as a place's speeds (metres, seconds) or a vendor's
--         preparation times (minutes, orders)
-- ARGV  1 maximum weight  2 time to live (s)  then field, sum and weight of each sample
-- Returns nothing.
local max_weight = tonumber(ARGV[1])
for i = 3, #ARGV, 3 do
  local sum, weight = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  if before then
    local old_sum, old_weight = string.match(before, '^(%S+) (%S+)$')
    sum, weight = sum + tonumber(old_sum), weight + tonumber(old_weight)
  end
  if weight > max_weight then
    sum, weight = sum * max_weight / weight, max_weight
  end
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.3f %.3f', sum, weight))
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
