-- Append one event to an identity's inbox, unless it is already there, and publish it.
-- KEYS: head (hash), stream, seen (sorted set), channel is ARGV[1].
-- ARGV: channel, event id, now ms, epoch to use for a new inbox, event name, body (JSON object),
--       entries kept, ms kept, time to live of the head (ms).
-- Returns the event's seq, 0 where the event id was known.
-- Atomic, because number, stream and channel must have the same order of events.
local now, kept_ms = tonumber(ARGV[3]), tonumber(ARGV[8])
if redis.call('ZADD', KEYS[3], 'NX', now, ARGV[2]) == 0 then
  return 0
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - kept_ms)
redis.call('PEXPIRE', KEYS[3], kept_ms)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local head = redis.call('HMGET', KEYS[1], 'epoch', 'run')
local epoch = head[1]
if head[2] ~= run then
  -- A restarted server, or a replica that took over, may have lost the last second. A new epoch
  -- keeps it from giving a number twice and from hiding the loss.
  epoch = ARGV[4]
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'run', run, 'seq', 0)
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[9]))
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], seq .. '-0',
  't', ARGV[3], 'n', ARGV[5], 'b', ARGV[6])
redis.call('PEXPIRE', KEYS[2], kept_ms)
redis.call('SPUBLISH', ARGV[1],
  seq .. '\n' .. epoch .. '\n' .. ARGV[3] .. '\n' .. ARGV[5] .. '\n' .. ARGV[6])
return seq
