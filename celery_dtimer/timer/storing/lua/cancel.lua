-- cancel: end all deliveries of an id, unless the newest is in a worker's hands; what is parked only if nothing else is.
--
-- KEYS events, leased, taken, deliveries, damaged, promise, parked, parked_at, parked_ids, tags; due, lease, wake of each queue
-- ARGV[1] id              string
-- ARGV[2] if_due_ms       ms      '' = whenever it is due; only if it is, or was, due then
-- ARGV[3] if_tag          string  '' = whatever it is; only if it has this tag
-- ARGV[4] if_kind         string  '' = whatever it is; only if it is of this kind
-- reply: [1, ...] cancelled: it was pending, given back, lapsed, or parked; [0, ...] nothing changed: it is being
--        delivered, is unknown, or is due at another instant. The rest says what was so, see `answer` in common.lua
-- cost: O(log N) a delivery of that id, and a tag of it

local id = ARGV[1]
local if_due_ms = ARGV[2]
local if_tag = ARGV[3]
local if_kind = ARGV[4]

even_when_full(events)
local value = redis.call('HGET', events, id)
local at = newest_of(id, value)
if at.queue then need(at.queue) end
local keys, held = keys_of(deliveries, id, -1), {}
for i, key in ipairs(keys) do
  held[i] = unpack_lease(redis.call('HGET', leased, key))
  if held[i] then need(held[i].queue) end
end
if #missing > 0 then return asked_back() end

local found = whereabouts(id, at)
if not value and #keys == 0 and not found.key then return answer(0, found, 0, '') end
local in_hands = at.held and not at.waits and not value and found.until_ms > floor_ms(now_us())
if in_hands or (if_due_ms ~= '' and tonumber(if_due_ms) ~= found.due_ms) then return answer(0, found, found.due_ms, '') end
local newest = found.key and { key = found.key } or at
local event = (newest.event or newest.key) and event_of(newest)
if not is_chosen(event, if_tag, if_kind) then return answer(0, found, found.due_ms, '') end
local cancelled = answer(1, found, found.due_ms, event and event.payload or '')

if not value and #keys == 0 then
  redis.call('HDEL', parked, found.key)
  redis.call('ZREM', parked_at, found.key)
  redis.call('ZREM', parked_ids, found.key)
  redis.call('HDEL', taken, found.key)
  if event and event.tags ~= '' then untag(id, event.tags) end
  return cancelled
end

local gone = at.event and at.event.tags or ''
if value and not at.event then put_aside('events', id, value) end
if value then redis.call('HDEL', events, id) end
if at.event then redis.call('ZREM', places[at.queue].due, id) end
-- Deliveries of this id that are under way since it was posted anew are not redelivered either.
for i, key in ipairs(keys) do
  if held[i] then
    if held[i].tagged then
      local delivered = unpack_event(redis.call('HGET', taken, key))
      if delivered then gone = gone .. '\255' .. delivered.tags end
    end
    end_lease(places[held[i].queue], key)
  else
    put_aside('leased', key, redis.call('HGET', leased, key))
    put_aside('taken', key, redis.call('HGET', taken, key))
    redis.call('HDEL', leased, key)
    redis.call('HDEL', taken, key)
    redis.call('ZREM', deliveries, key)
  end
end
if gone ~= '' then untag(id, gone) end
for _, queue in ipairs(queues) do tidy(places[queue]) end
return cancelled
