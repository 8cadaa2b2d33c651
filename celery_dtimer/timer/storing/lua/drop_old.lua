-- drop_old: end what has been parked for too long, the oldest first.
--
-- KEYS events, leased, taken, deliveries, parked, parked_at, parked_ids, tags; due, lease, wake of each queue
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
-- Those of a few large records stay in the index until somebody comes past.
local most_bytes = redis.call('EXISTS', tags) * 1024 * 1024
local dropped, tagged = {}, {}
for i, value in ipairs(redis.call('HMGET', parked, unpack(old))) do
  local fields = value and fields_of(value, 'string', 'number', 'number', 'number', 'string', 'number')
  dropped[i] = fields and fields[5] or ''
  if most_bytes > 0 then
    local record = redis.call('HGET', taken, old[i])
    local event = unpack_event(record)
    most_bytes = most_bytes - #(record or '')
    if event and event.tags ~= '' then add(tagged, id_of(old[i]), event.tags) end
  end
  -- What is parked is not leased; if a foreign hand has made it both, the lease's record stays.
  if redis.call('HEXISTS', leased, old[i]) == 0 then redis.call('HDEL', taken, old[i]) end
end
redis.call('HDEL', parked, unpack(old))
redis.call('ZREM', parked_ids, unpack(old))
redis.call('ZREM', parked_at, unpack(old))
untag_all(tagged)
return dropped
