-- peek: where an event is: what was posted last, or what was parked last. Changes nothing.
--
-- KEYS events, leased, taken, deliveries, parked, parked_ids; due, lease, wake of each queue
-- ARGV[1] id              string
-- reply: [] unknown, or [state, queue, due_ms, redeliveries, max_redeliveries, payload, holder, until_ms, reason, tags]:
--        pending (until_ms = due_ms), leased (until_ms: the lease lapses), parked (until_ms: since when)
-- cost: O(log N)

local id = ARGV[1]

local function reply(state, event, due_ms, redeliveries, holder, until_ms, reason)
  return { state, event.queue, due_ms, redeliveries, event.max_redeliveries, event.payload, holder, until_ms, reason,
           event.tags }
end

local at = newest_of(id, redis.call('HGET', events, id))
if at.queue then
  need(at.queue)
  if #missing > 0 then return asked_back() end
  local place, held, event = places[at.queue], at.held, event_of(at)
  if not event then return {} end
  if at.waits then
    local due_ms = score_of(place.due, at.member)
    return reply('pending', event, due_ms, held and held.redeliveries or 0, '', due_ms, '')
  end
  return reply('leased', event, held.due_ms, held.redeliveries, held.holder, score_of(place.lease, at.key), '')
end

local key, fields = newest_parked(id)
local event = fields and unpack_event(redis.call('HGET', taken, key))
if not event then return {} end
return reply('parked', event, fields[4], fields[3], '', fields[2], fields[1])
