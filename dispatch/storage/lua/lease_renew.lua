-- Hold a lease for longer, or give it back; only under the token that it was taken with.
-- KEYS  1 the lease (hash)
-- ARGV  1 token  2 ttl (ms), 0 gives it back
-- Returns 1 where the lease was ours, 0 where it is not.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
