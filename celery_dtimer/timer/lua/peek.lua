-- peek: where an event is. Changes nothing.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] leased          hash    lease key -> lease record
-- KEYS[3] parked          hash    id -> parked record
-- ARGV[1] prefix          string  what the names of this shard's keys begin with (see cancel)
-- ARGV[2] id              string
-- reply: [] unknown, or [state, queue, due_ms, redeliveries, max_redeliveries, payload, holder, until_ms, reason]:
--        pending (until_ms = due_ms), leased (until_ms: the lease lapses), parked (until_ms: since when)
-- cost: O(1)

local events = KEYS[1]
local leased = KEYS[2]
local parked = KEYS[3]
local prefix = ARGV[1]
local id = ARGV[2]

local function reply(state, event, due_ms, redeliveries, holder, until_ms, reason)
  return { state, event.queue, due_ms, redeliveries, event.max_redeliveries, event.payload, holder, until_ms, reason }
end

local value = redis.call('HGET', events, id)
if value then
  local key = pointed_lease(value)
  if not key then
    local event = unpack_event(value)
    local due_ms = tonumber(redis.call('ZSCORE', prefix .. 'due:' .. event.queue, id))
    return reply('pending', event, due_ms, 0, '', due_ms, '')
  end
  local held = read_lease(leased, key)
  if not held then return {} end
  local event = unpack_event(held.record)
  local until_ms = tonumber(redis.call('ZSCORE', prefix .. 'lease:' .. event.queue, key))
  if held.token == '' then return reply('pending', event, until_ms, held.redeliveries, '', until_ms, '') end
  return reply('leased', event, held.due_ms, held.redeliveries, held.holder, until_ms, '')
end

local kept = redis.call('HGET', parked, id)
if not kept then return {} end
local fields = cmsgpack.unpack(kept)
return reply('parked', unpack_event(fields[5]), fields[4], fields[3], '', fields[2], fields[1])
