-- drop_old: end what has been parked for too long, the oldest first.
--
-- KEYS leased, taken, parked, parked_at, parked_ids; due, lease, wake of each queue
-- ARGV[1] ttl_ms          ms      what was parked so long ago, or longer
-- ARGV[2] most            count   drop at most so many
-- reply: array of strings, one a dropped event: the queue that it was of, '' = its record can't be read
-- cost: O(log N) an event, or nothing was parked so long ago

local ttl_ms = tonumber(ARGV[1])
local most = tonumber(ARGV[2])

local old =
  redis.call('ZRANGEBYSCORE', parked_at, '-inf', digits(floor_ms(now_us()) - ttl_ms), 'LIMIT', 0, most)
if #old == 0 then return {} end

even_when_full(parked)
local dropped = {}
for i, value in ipairs(redis.call('HMGET', parked, unpack(old))) do
  local fields = value and fields_of(value, 'string', 'number', 'number', 'number', 'string', 'number')
  dropped[i] = fields and fields[5] or ''
  -- What is parked is not leased; if a foreign hand has made it both, the lease's record stays.
  if redis.call('HEXISTS', leased, old[i]) == 0 then redis.call('HDEL', taken, old[i]) end
end
redis.call('HDEL', parked, unpack(old))
redis.call('ZREM', parked_ids, unpack(old))
redis.call('ZREM', parked_at, unpack(old))
return dropped
