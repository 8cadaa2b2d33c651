-- cancel: end an event, unless it is in a worker's hands.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] leased          hash    lease key -> lease record
-- KEYS[3] parked          hash    id -> parked record
-- KEYS[4] promise         hash    queue -> promise
-- ARGV[1] prefix          string  what the names of this shard's keys begin with; the event's record knows
--                                 its queue, so its due, lease and wake keys can be named only here
-- ARGV[2] id              string
-- reply: 1 cancelled (it was pending, given back, or parked), 2 being delivered (nothing changed), 0 unknown
-- cost: O(log N)

local events = KEYS[1]
local leased = KEYS[2]
local parked = KEYS[3]
local promise = KEYS[4]
local prefix = ARGV[1]
local id = ARGV[2]

local function tidy_queue(queue)
  tidy(prefix .. 'due:' .. queue, prefix .. 'lease:' .. queue, promise, prefix .. 'wake:' .. queue, queue)
end

-- Deliveries of this id that were under way when it was posted anew: they are not redelivered either.
-- More than a few at a time would need as many overlapping posts and leases of one id.
local function end_older(key)
  for _ = 1, 16 do
    local held = read_lease(leased, key)
    if not held then return end
    local event = unpack_event(held.record)
    end_lease(events, leased, prefix .. 'lease:' .. event.queue, key, id, '')
    tidy_queue(event.queue)
    key = event.older
  end
end

local value = redis.call('HGET', events, id)
if not value then return redis.call('HDEL', parked, id) end

local key = pointed_lease(value)
local event
if key then
  local held = read_lease(leased, key)
  if not held then return 0 end
  if held.token ~= '' then return 2 end
  event = unpack_event(held.record)
  end_lease(events, leased, prefix .. 'lease:' .. event.queue, key, id, '')
else
  event = unpack_event(value)
  redis.call('HDEL', events, id)
  redis.call('ZREM', prefix .. 'due:' .. event.queue, id)
end
end_older(event.older)
redis.call('HDEL', parked, id)
tidy_queue(event.queue)
return 1
