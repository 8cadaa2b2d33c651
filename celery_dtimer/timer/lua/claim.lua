-- claim: take what is due of some queues under leases, and take or pass on the promise to wake next.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] leased          hash    lease key -> lease record
-- KEYS[3] parked          hash    id -> parked record
-- KEYS[4] promise         hash    queue -> promise
-- KEYS[5] polls           hash    queue -> how many looked there of their own accord, by seconds; gone after some
-- KEYS[6..] due, lease, wake
--         zset, zset, list: one group a queue
-- ARGV[1] listener        string  who claims
-- ARGV[2] holder          string  the listener's name for people, shown by peek
-- ARGV[3] nonce           string  new at every call: the tokens are made of it
-- ARGV[4] room            count   take at most so many; 0 = take nothing, pass the promises on
-- ARGV[5] lease_ms        ms      the leases lapse after that
-- ARGV[6] grace_ms        ms      a promise that is overdue by more has lapsed
-- ARGV[7] ahead_ms        ms      take also what is due so soon: the listener holds it until then; negative: take
--                                 only what has been due for so long, and promise nothing
-- ARGV[8] lapsed_ms       ms      '' = none; leases that lapse later have not lapsed yet, whatever the clock says:
--                                 it may have been set forward while their holders live
-- ARGV[9] is_poll         count   1 = nobody woke the listener, and nothing is promised: it looks after the others
-- ARGV[10..] queue
--         string: one a queue, in the order of the keys
-- reply: [now_us, wait_us, deliveries, parked, polls]: the server's clock; microseconds until this listener has
--        promised to wake, -1 = it promised nothing; an array of [id, key, token, queue number, due_ms, redeliveries,
--        max_redeliveries, payload] (token '': nothing to confirm); an array of ids that were parked; and how many
--        polls there are in a second of the queue that has the fewest (0 unless this is a poll)
-- cost: O(room * log N + queues)

local events = KEYS[1]
local leased = KEYS[2]
local parked = KEYS[3]
local promise = KEYS[4]
local polls = KEYS[5]
local listener = ARGV[1]
local holder = ARGV[2]
local nonce = ARGV[3]
local room = tonumber(ARGV[4])
local lease_ms = tonumber(ARGV[5])
local grace_ms = tonumber(ARGV[6])
local ahead_ms = tonumber(ARGV[7])
local lapsed_ms = ARGV[8]
local is_poll = tonumber(ARGV[9])

even_when_full(events)
local us = now_us()
-- redis-py may send a call again whose answer it did not get: what the first one leased stays apart.
local stamp = string.format('%s:%x:', nonce, us % 2 ^ 31)
local now_ms = floor_ms(us)
local lapse_ms = ceil_ms(us) + lease_ms
local step_ms = math.max(0, now_ms - (tonumber(lapsed_ms) or now_ms))
local deliveries, parked_ids = {}, {}
local wake_at_ms

local function deliver(number, id, key, token, due_ms, redeliveries, event)
  deliveries[#deliveries + 1] =
    { id, key, token, number, due_ms, redeliveries, event.max_redeliveries, event.payload }
  room = room - 1
end

-- Leases that lapsed, and events that were given back and may be claimed again.
local function claim_again(number, lease)
  local until_ms = now_ms - step_ms + math.min(ahead_ms, 0)
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', lease, '-inf', until_ms, 'LIMIT', 0, room)) do
    local held = read_lease(leased, key)
    local event = held and unpack_event(held.record)
    if held and held.token ~= '' then held.redeliveries = held.redeliveries + 1 end
    if not held then
      -- Its record was deleted from outside (an eviction, say): nothing is left to deliver.
      redis.call('ZREM', lease, key)
    elseif held.redeliveries > event.max_redeliveries then
      end_lease(events, leased, lease, key, held.id, event.older)
      park(parked, now_ms, held.id, 'redelivered too often: the lease lapsed', held)
      parked_ids[#parked_ids + 1] = held.id
    else
      local token = stamp .. #deliveries
      redis.call('HSET', leased, key,
        pack_lease(token, holder, held.redeliveries, held.due_ms, held.id, held.record))
      redis.call('ZADD', lease, lapse_ms, key)
      deliver(number, held.id, key, token, held.due_ms, held.redeliveries, event)
    end
  end
end

local function claim_due(number, due, lease)
  local found = redis.call('ZRANGEBYSCORE', due, '-inf', now_ms + ahead_ms, 'WITHSCORES', 'LIMIT', 0, room)
  if #found == 0 then return end
  local ids = {}
  for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
  local records = redis.call('HMGET', events, unpack(ids))
  redis.call('ZREM', due, unpack(ids))
  local pointers, leases, lapses, ended = {}, {}, {}, {}
  for i, id in ipairs(ids) do
    local due_ms = tonumber(found[2 * i])
    local event = records[i] and unpack_event(records[i])
    if not event then
      ended[#ended + 1] = id
    elseif event.max_redeliveries == 0 then
      -- Delivered once, no confirm awaited.
      if event.older ~= '' and redis.call('HEXISTS', leased, event.older) == 1 then
        pointers[#pointers + 1] = id
        pointers[#pointers + 1] = lease_pointer(event.older)
      else
        ended[#ended + 1] = id
      end
      deliver(number, id, '', '', due_ms, 0, event)
    else
      local key = stamp .. #deliveries
      pointers[#pointers + 1] = id
      pointers[#pointers + 1] = lease_pointer(key)
      leases[#leases + 1] = key
      leases[#leases + 1] = pack_lease(key, holder, 0, due_ms, id, records[i])
      lapses[#lapses + 1] = lapse_ms
      lapses[#lapses + 1] = key
      deliver(number, id, key, key, due_ms, 0, event)
    end
  end
  if #ended > 0 then redis.call('HDEL', events, unpack(ended)) end
  if #pointers > 0 then redis.call('HSET', events, unpack(pointers)) end
  if #leases > 0 then
    redis.call('HSET', leased, unpack(leases))
    redis.call('ZADD', lease, unpack(lapses))
  end
end

local function settle_promise(queue, due, lease, wake)
  local at_ms = next_instant(due, lease, math.max(ahead_ms, 0), step_ms)
  if not at_ms then
    redis.call('HDEL', promise, queue)
    redis.call('DEL', wake)
    return
  end
  local promised_ms, by = read_promise(promise, queue)
  local open = promised_ms == nil or by == '' or by == listener
    or promised_ms < now_ms - grace_ms or at_ms < promised_ms
  if not open then return end
  if room > 0 and ahead_ms >= 0 then
    write_promise(promise, queue, at_ms, listener)
    redis.call('DEL', wake)
    if not wake_at_ms or at_ms < wake_at_ms then wake_at_ms = at_ms end
  else
    write_promise(promise, queue, at_ms, '')
    push_token(wake)
  end
end

-- Counts a poll of a queue; returns how many there were in the last whole second, or in this one if they are more.
local function count_poll(queue)
  local second = math.floor(now_ms / 1000)
  local value = redis.call('HGET', polls, queue)
  local at, count, before = string.match(value or '', '^(%d+) (%d+) (%d+)$')
  at, count, before = tonumber(at), tonumber(count), tonumber(before)
  if at == second - 1 then
    count, before = 1, count
  elseif at == second then
    count = count + 1
  else
    count, before = 1, 0
  end
  redis.call('HSET', polls, queue, string.format('%.0f %.0f %.0f', second, count, before))
  return math.max(count, before)
end

local fewest
-- In a cluster one more key, which is in no group, stands behind them (see keys.py).
for i = 6, #KEYS - 2, 3 do
  local due, lease, wake = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local number = (i - 6) / 3
  local queue = ARGV[10 + number]
  if is_poll == 1 then fewest = math.min(fewest or 2 ^ 31, count_poll(queue)) end
  if room > 0 then claim_again(number, lease) end
  if room > 0 then claim_due(number, due, lease) end
  settle_promise(queue, due, lease, wake)
end

if fewest then redis.call('PEXPIRE', polls, 2000) end
local wait_us = -1
if wake_at_ms then wait_us = math.max(0, wake_at_ms * 1000 - us) end
return { us, wait_us, deliveries, parked_ids, fewest or 0 }
