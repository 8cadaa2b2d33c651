-- change: move an event that waits to another instant.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] leased          hash    lease key -> lease record
-- KEYS[3] promise         hash    queue -> promise
-- ARGV[1] prefix          string  what the names of this shard's keys begin with (see cancel)
-- ARGV[2] id              string
-- ARGV[3] clock           string  in: when_ms counts from now; at: it is an instant
-- ARGV[4] when_ms         ms
-- reply: the new due_ms; -1 it does not wait (being delivered, parked, unknown) and nothing changed
-- cost: O(log N)

local events = KEYS[1]
local leased = KEYS[2]
local promise = KEYS[3]
local prefix = ARGV[1]
local id = ARGV[2]
local clock = ARGV[3]
local when_ms = tonumber(ARGV[4])

even_when_full(events)
local due_ms = when_ms
if clock == 'in' then due_ms = ceil_ms(now_us()) + math.max(when_ms, 0) end

local value = redis.call('HGET', events, id)
if not value then return -1 end
local key = pointed_lease(value)
local event
if key then
  local held = read_lease(leased, key)
  if not held or held.token ~= '' then return -1 end
  event = unpack_event(held.record)
  redis.call('HSET', leased, key, pack_lease('', '', held.redeliveries, due_ms, id, held.record))
  redis.call('ZADD', prefix .. 'lease:' .. event.queue, digits(due_ms), key)
else
  event = unpack_event(value)
  redis.call('ZADD', prefix .. 'due:' .. event.queue, digits(due_ms), id)
end
announce(promise, prefix .. 'wake:' .. event.queue, event.queue, due_ms)
return due_ms
