-- Read the head of an inbox and its newest events.
-- KEYS: head (hash), stream.
-- ARGV: "after" and the last seq that the client has, or "newest" and how many.
-- Returns epoch, seq and the entries of the stream, oldest first; an empty epoch and 0 where there is
-- no inbox, or one of an earlier run of the server, which may have lost its last second.
-- Atomic, because head and stream must belong together.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'run')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if head[3] ~= run then
  return {'', 0, {}}
end
local seq, bound = tonumber(head[2]), tonumber(ARGV[2])
local first = bound + 1
if ARGV[1] == 'newest' then
  first = math.max(1, seq - bound + 1)
end
if first > seq then
  return {head[1], seq, {}}
end
return {head[1], seq, redis.call('XRANGE', KEYS[2], first .. '-0', '+')}
