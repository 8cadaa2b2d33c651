-- claim: take what is due of some queues under leases, and take or pass on the promise to wake next.
--
-- KEYS events, leased, taken, deliveries, damaged, promise, parked, parked_at, parked_ids, tags, polls, holds, bucket; due, lease, wake of each queue
--         polls: hash, queue -> how many looked there of their own accord, by seconds; gone after some
-- ARGV[1] listener        string  who claims
-- ARGV[2] holder          string  the listener's name for people, shown by peek
-- ARGV[3] nonce           string  new at every call: the tokens are made of it
-- ARGV[4] room            count   take at most so many; 0 = take nothing, pass the promises on
-- ARGV[5] most_bytes      count   take no more once their payloads have so many bytes
-- ARGV[6] lease_ms        ms      the leases lapse after that
-- ARGV[7] grace_ms        ms      a promise that is overdue by more has lapsed
-- ARGV[8] ahead_ms        ms      take also what is due so soon: the listener holds it until then; negative: take
--                                 only what has been due for so long, and promise nothing
-- ARGV[9] lapsed_ms       ms      '' = none; leases that lapse later have not lapsed yet, whatever the clock says:
--                                 it may have been set forward while their holders live
-- ARGV[10] shy_ms         ms      what was given back is left to others for so long
-- ARGV[11] is_poll        count   1 = nobody woke the listener, and nothing is promised: it looks after the others
-- ARGV[12] own_limit      string  'rate after_ms sharers': what is overdue by more than after_ms is claimed at so many
--                                 events in 1,000 s, unless another limit is stored in `holds`; 0 = as fast as it can
--                                 be; and so many shards share that rate
-- reply: [now_us, wait_us, heads, texts, parked, polls, damaged, errors, shares]: the server's clock; microseconds until this
--        listener has promised to wake, -1 = it promised nothing; of each delivery, in two strings, since a client
--        reads them much faster than an array: its head, big-endian integers, which are the lengths of its four texts
--        (4 bytes each), the queue's number (4), redeliveries, max_redeliveries, due_ms and ready_ms (8 each), and its texts:
--        key, token, payload, tags (token '': nothing to confirm; ready_ms: not to be handed over before);
--        the keys of what was parked; how many polls there are in a second of the queue that has the
--        fewest (0 unless this is a poll); where records stood that were put aside; what failed; and 0 if there is a
--        limit and nothing here that it holds back
-- cost: O(room * log N + queues)

local listener = ARGV[1]
local holder = ARGV[2]
local nonce = ARGV[3]
local room = tonumber(ARGV[4])
local most_bytes = tonumber(ARGV[5])
local lease_ms = tonumber(ARGV[6])
local grace_ms = tonumber(ARGV[7])
local ahead_ms = tonumber(ARGV[8])
local lapsed_ms = ARGV[9]
local shy_ms = tonumber(ARGV[10])
local is_poll = tonumber(ARGV[11])
local own_limit = ARGV[12]

even_when_full(events)
local us = now_us()
-- A proxy may send a call again whose answer it did not get: what the first one leased stays apart.
local stamp = string.format('%016.0f:%s:', us, nonce)
local now_ms = floor_ms(us)
local lapse_ms = ceil_ms(us) + lease_ms
local step_ms = math.max(0, now_ms - (tonumber(lapsed_ms) or now_ms))
local lapse = digits(lapse_ms)
local heads, texts, parked_keys, aside, errors = {}, {}, {}, {}, {}
local claimed, bytes, tokens = 0, 0, 0
local wake_at_ms

-- What is held, of the queues and of the kinds, and how far what is of a held kind is set aside.
local held_queues, shifts, kinds_held, stored_limit = {}, {}, false, nil
local settings = redis.call('HGETALL', holds)
for i = 1, #settings, 2 do
  local what, name = string.match(settings[i], '^(%l+) (.*)$')
  if what == 'queue' then held_queues[name] = true end
  if what == 'kind' and tonumber(settings[i + 1]) > 0 then
    shifts[name] = tonumber(settings[i + 1]) * BAND
    kinds_held = true
  end
  if settings[i] == 'catch_up' then stored_limit = settings[i + 1] end
end
local limit
if stored_limit or string.byte(own_limit) ~= 48 then limit = limit_of(stored_limit, own_limit, us) end

-- What fails in one queue, or with one lease, keeps nobody else's from being claimed.
local function try(action, ...)
  local fine, err = pcall(action, ...)
  if not fine then errors[#errors + 1] = type(err) == 'table' and err.err or tostring(err) end
end

local function has_room() return room > 0 and bytes < most_bytes end

local function new_token()
  tokens = tokens + 1
  return stamp .. tokens
end

-- The head of a delivery, see the reply.
local function head_of(key, token, payload, its_tags, number, redeliveries, max_redeliveries, due_ms, ready_ms)
  return struct.pack('>I4I4I4I4I4i8i8i8i8', #key, #token, #payload, #its_tags, number, redeliveries, max_redeliveries,
    due_ms, ready_ms)
end

local function set_aside(where, field, value)
  put_aside(where, field, value)
  if value then aside[#aside + 1] = where .. ' ' .. field end
end

-- What was claimed before: its lease lapsed, or it was given back and waits in `due`.
local function claim_again(number, place, key, ready_ms)
  local value = redis.call('HGET', leased, key)
  local record = redis.call('HGET', taken, key)
  local lease = unpack_lease(value)
  local event = unpack_event(record)
  if not lease or not event or lease.queue ~= place.queue then
    if lease and event then
      -- It stands in another queue.
      redis.call('ZREM', place.due, key)
      redis.call('ZREM', place.lease, key)
      return
    end
    -- Damaged, or deleted from outside (an eviction, say). What is parked keeps its record.
    set_aside('leased', key, value)
    if value or redis.call('HEXISTS', parked, key) == 0 then set_aside('taken', key, record) end
    end_lease(place, key)
    return
  end
  local redeliveries = lease.redeliveries
  if lease.token ~= '' then redeliveries = redeliveries + 1 end
  if redeliveries > event.max_redeliveries then
    park(place, key, lease, redeliveries, 'redelivered too often: the lease lapsed', now_ms)
    parked_keys[#parked_keys + 1] = key
    return
  end
  local tagged = event.tags ~= '' and 1 or nil
  if shifts[event.kind] then
    redis.call('HSET', leased, key,
      pack_lease('', '', redeliveries, lease.due_ms, lease.queue, lease.max_redeliveries, lease.error,
        tagged))
    redis.call('ZADD', place.due, digits((ready_ms or lease.due_ms) + shifts[event.kind]), key)
    redis.call('ZREM', place.lease, key)
    bytes = bytes + #event.payload
    return
  end
  local token = new_token()
  redis.call('HSET', leased, key,
    pack_lease(token, holder, redeliveries, lease.due_ms, lease.queue, lease.max_redeliveries, lease.error,
      tagged))
  redis.call('ZADD', place.lease, lapse, key)
  redis.call('ZREM', place.due, key)
  heads[#heads + 1] = head_of(key, token, event.payload, event.tags, number, redeliveries, event.max_redeliveries,
    lease.due_ms, ready_ms or 0)
  texts[#texts + 1] = key .. token .. event.payload .. event.tags
  claimed, bytes, room = claimed + 1, bytes + #event.payload, room - 1
end

-- The record of a first lease is put together of these: what pack_lease makes, of which little differs.
local packed_lead, packed_counts = cmsgpack.pack(holder) .. cmsgpack.pack(0), {}
local function pack_first_lease(token, due_ms, packed_queue, max_redeliveries, tagged)
  local count = packed_counts[max_redeliveries]
  if not count then
    count = cmsgpack.pack(max_redeliveries)
    packed_counts[max_redeliveries] = count
  end
  if tagged then
    return token .. '\n\151' .. packed_lead .. cmsgpack.pack(due_ms) .. packed_queue .. count .. '\160\1'
  end
  return token .. '\n\149' .. packed_lead .. cmsgpack.pack(due_ms) .. packed_queue .. count
end

-- What is pending, or was given back, as far as the payloads are not too many bytes.
local function claim_some(number, place, members, instants)
  local records = redis.call('HMGET', events, unpack(members))
  local queue, packed_queue = place.queue, cmsgpack.pack(place.queue)
  local left, gone, leases, kept, index, lapses, its_heads, its_texts, shifted, ended, size

  local function begin()
    left, gone, leases, kept, index, lapses, shifted, ended = {}, {}, {}, {}, {}, {}, {}, {}
    its_heads, its_texts, size = {}, {}, bytes
  end

  local function move()
    if #leases > 0 then
      redis.call('HSET', leased, unpack(leases))
      redis.call('HSET', taken, unpack(kept))
      redis.call('ZADD', deliveries, unpack(index))
      redis.call('ZADD', place.lease, unpack(lapses))
    end
    if #left > 0 then redis.call('ZREM', place.due, unpack(left)) end
    if #shifted > 0 then redis.call('ZADD', place.due, unpack(shifted)) end
    if #gone > 0 then redis.call('HDEL', events, unpack(gone)) end
    if #its_heads > 0 then
      heads[#heads + 1] = table.concat(its_heads)
      texts[#texts + 1] = table.concat(its_texts)
      claimed, bytes, room = claimed + #its_heads, size, room - #its_heads
    end
    if #ended > 0 then try(function() untag_all(ended) end) end
    begin()
  end

  begin()
  for i, member in ipairs(members) do
    if room - #its_heads <= 0 or size >= most_bytes then break end
    local record, due_ms = records[i], instants[i]
    local event, its_tags = fields_of_event(record)
    if event and event[2] == queue and not shifts[event[6] or ''] then
      local payload, max_redeliveries, key, token = event[3], event[1], member .. '\255', ''
      left[#left + 1] = member
      gone[#gone + 1] = member
      if max_redeliveries > 0 then
        token = new_token()
        key = key .. token
        add(leases, key, pack_first_lease(token, due_ms, packed_queue, max_redeliveries, its_tags ~= ''))
        add(kept, key, record)
        add(index, '0', key)
        add(lapses, lapse, key)
      elseif its_tags ~= '' then
        add(ended, member, its_tags)
      end
      its_heads[#its_heads + 1] = head_of(key, token, payload, its_tags, number, 0, max_redeliveries, due_ms, due_ms)
      local last = #its_texts
      its_texts[last + 1], its_texts[last + 2], its_texts[last + 3], its_texts[last + 4] = key, token, payload, its_tags
      size = size + #payload
    elseif not record and is_key(member) and due_ms > now_ms - shy_ms then
      place.left_ms = math.min(place.left_ms or due_ms, due_ms)
    elseif not record and is_key(member) then
      move()
      try(claim_again, number, place, member, due_ms)
      size = bytes
    elseif not event or event[2] ~= queue then
      left[#left + 1] = member
      if record and not event then
        set_aside('events', member, record)
        gone[#gone + 1] = member
      end
    else
      add(shifted, digits(due_ms + shifts[event[6] or '']), member)
      bytes, size = bytes + #event[3], size + #event[3]
    end
  end
  move()
end

local function claim_lapsed(number, place)
  local until_ms = now_ms - step_ms + math.min(ahead_ms, 0)
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', place.lease, '-inf', until_ms, 'LIMIT', 0, room)) do
    if not has_room() then return end
    try(claim_again, number, place, key)
  end
end

local function claim_due(number, place, from, to)
  -- What is left to others, or held, does not hide what stands behind it.
  local most = (shy_ms > 0 or kinds_held) and 1000 or room
  local found =
    redis.call('ZRANGEBYSCORE', place.due, from, to, 'WITHSCORES', 'LIMIT', 0, most)
  -- Of large payloads, a few records at a time are read; of small ones, all that are left.
  local first, few = 1, 4
  while first < #found and has_room() do
    local members, instants = {}, {}
    for i = first, math.min(first + 2 * few, #found) - 1, 2 do
      members[#members + 1] = found[i]
      instants[#instants + 1] = instant(found[i + 1])
    end
    first = first + 2 * few
    claim_some(number, place, members, instants)
    if claimed > 0 then few = math.max(1, math.floor((most_bytes - bytes) * claimed / math.max(1, bytes))) end
  end
end

local claim_overdue, first_of
if limit then
  -- What the limit holds back, the oldest first.
  function claim_overdue(number, place)
    local all = room
    room = math.min(all, limit.tokens())
    local allowed = room
    if has_room() then
      try(claim_due, number, place, '-inf', digits(math.min(now_ms + ahead_ms, limit.cut_ms - 1)))
      limit.met = limit.met or room < allowed
      limit.spend(allowed - room)
    end
    room = all - (allowed - room)
  end

  -- The first of a queue that is not held back for now, or the instant at which something of the rest may be claimed;
  -- false without any.
  function first_of(place)
    local first = first_score(place.due)
    if not first or first >= limit.cut_ms then return first or false end
    limit.met = true
    if limit.tokens() > 0 then return first end
    local later = redis.call('ZRANGEBYSCORE', place.due, digits(limit.cut_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    return math.min(number_of(later[2] or 'inf'), limit.refilled_ms() + math.max(ahead_ms, 0))
  end
end

-- Before all instants: nobody is woken by what is posted, and nobody has anything to do.
local function promise_nothing(place)
  local _, by = read_promise(place.queue)
  if by ~= 'held' then write_promise(place.queue, -2 ^ 52, 'held') end
  redis.call('DEL', place.wake)
  tidy(place)
end

local function settle_promise(place)
  local first
  if limit then first = first_of(place) end
  local at_ms = next_instant(place, math.max(ahead_ms, 0), step_ms, first)
  if place.left_ms and room > 0 then
    -- The first that waits is left to others: of the rest, what is due by now was claimed.
    local later = redis.call('ZRANGEBYSCORE', place.due, digits(now_ms + ahead_ms + 1), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    local lapse_ms = first_score(place.lease)
    at_ms = math.min(place.left_ms + shy_ms, limit and limit.met and limit.refilled_ms() or 2 ^ 53)
    if later[2] then at_ms = math.min(at_ms, number_of(later[2]) - math.max(ahead_ms, 0)) end
    if lapse_ms then at_ms = math.min(at_ms, lapse_ms + step_ms) end
  end
  if not at_ms then
    redis.call('HDEL', promise, place.queue)
    redis.call('DEL', place.wake)
    return
  end
  local promised_ms, by = read_promise(place.queue)
  local open = promised_ms == nil or by == '' or by == listener
    or promised_ms < now_ms - grace_ms or at_ms < promised_ms
  if not open then return end
  if room > 0 and ahead_ms >= 0 then
    write_promise(place.queue, at_ms, listener)
    redis.call('DEL', place.wake)
    if not wake_at_ms or at_ms < wake_at_ms then wake_at_ms = at_ms end
  else
    write_promise(place.queue, at_ms, '')
    push_token(place.wake)
  end
end

local fewest
local limited = {}
for i, queue in ipairs(queues) do
  local place = places[queue]
  if is_poll == 1 then fewest = math.min(fewest or 2 ^ 31, count_poll(queue, now_ms)) end
  if held_queues[queue] then
    try(promise_nothing, place)
  else
    if has_room() then try(claim_lapsed, i - 1, place) end
    -- With a limit, what is due now goes first, of all queues.
    if has_room() then try(claim_due, i - 1, place, limit and limit.cut_ms or '-inf', now_ms + ahead_ms) end
    if limit then limited[#limited + 1] = i else try(settle_promise, place) end
  end
end
for _, i in ipairs(limited) do
  if has_room() then claim_overdue(i - 1, places[queues[i]]) end
end
for _, i in ipairs(limited) do try(settle_promise, places[queues[i]]) end
if limit and limit.met then limit.keep() end

if fewest then redis.call('PEXPIRE', polls, 2000) end
local wait_us = -1
if wake_at_ms then wait_us = math.max(0, wake_at_ms * 1000 - us) end
return { us, wait_us, table.concat(heads), table.concat(texts), parked_keys, fewest or 0, aside, errors,
         limit and not limit.met and 0 or 1 }
