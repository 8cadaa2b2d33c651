-- change: move an event that waits to another instant.
--
-- KEYS events, leased, taken, deliveries, promise, parked, parked_ids; due, lease, wake of each queue
-- ARGV[1] id              string
-- ARGV[2] clock           string  in: when_ms counts from now; at: it is an instant
-- ARGV[3] when_ms         ms
-- ARGV[4] if_due_ms       ms      '' = whenever it is due; only if it is due then
-- ARGV[5] if_tag          string  '' = whatever it is; only if it has this tag
-- ARGV[6] if_kind         string  '' = whatever it is; only if it is of this kind
-- reply: [1, ...] moved; [0, ...] it does not wait (being delivered, parked, unknown), or is due at another instant, and
--        nothing changed; the rest says what was so, see `answer` in common.lua
-- cost: O(log N)

local id = ARGV[1]
local clock = ARGV[2]
local when_ms = tonumber(ARGV[3])
local if_due_ms = ARGV[4]
local if_tag = ARGV[5]
local if_kind = ARGV[6]

even_when_full(events)
local at = newest_of(id, redis.call('HGET', events, id))
if at.queue then need(at.queue) end
if #missing > 0 then return asked_back() end
local found = whereabouts(id, at)
if not at.waits or (if_due_ms ~= '' and tonumber(if_due_ms) ~= found.due_ms) then
  return answer(0, found, found.due_ms, '')
end
if (if_tag ~= '' or if_kind ~= '') and not is_chosen(event_of(at), if_tag, if_kind) then
  return answer(0, found, found.due_ms, '')
end

local due_ms = when_ms
if clock == 'in' then due_ms = ceil_ms(now_us()) + math.max(when_ms, 0) end
local place, held = places[at.queue], at.held
if held then
  redis.call('HSET', leased, at.key, pack_lease('', '', held.redeliveries, due_ms, held.queue, held.max_redeliveries,
    held.error, held.tagged))
end
redis.call('ZADD', place.due, digits(due_ms), at.member)
announce(place, due_ms)
return answer(1, found, due_ms, '')
