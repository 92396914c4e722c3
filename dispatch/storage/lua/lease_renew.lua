-- Renew or release a lease; only with the token that it was acquired with.
-- KEYS  1 the lease (hash)
-- ARGV  1 token  2 time to live (ms), 0 to release it
-- Returns 1 where the token held the lease, else 0.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
