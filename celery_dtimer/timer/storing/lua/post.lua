-- post: store events of one queue.
--
-- KEYS events, leased, taken, deliveries, damaged, promise, parked_ids, tags; due, lease, wake of each queue
--         the first queue is where the events go; in others something of their ids may wait
-- ARGV[1] conflict        string  what a pending event of the same id means: error, keep, replace,
--                                 postpone, or again (error, unless the payload is the same: a repeat);
--                                 follow: for what follows a delivery of the same id. It replaces what that delivery
--                                 posted before, stands beside what anybody else posted, and is stored
--                                 in a Redis at its maxmemory too: the delivery's end makes room for it
-- ARGV[2] origin          string  the key of that delivery, or ''
-- ARGV[3] max_wait_ms     ms      postpone: no later than this after the first post; 0 = no bound
-- ARGV[4..] id, clock, when_ms, max_redeliveries, payload, kind
--         string, string 'in' or 'at', ms, count, bytes, string ('' = none) and then a byte 255 and a tag
--         for each of its tags: one group an event
-- reply: array of integers, one an event: the due_ms that is stored now; with conflict error or again
--        minus that, when the event was refused because another one is pending
-- cost: O(log N) an event, and a tag of it

local conflict = ARGV[1]
local origin = ARGV[2]
local max_wait_ms = tonumber(ARGV[3])

local here = places[queues[1]]
local even_full = conflict == 'follow'
if origin == '' and even_full then conflict = 'replace' end
local ids, found = {}, {}
for i = 4, #ARGV, 6 do ids[#ids + 1] = ARGV[i] end
local values = redis.call('HMGET', events, unpack(ids))

-- Where a retry stands while somebody else's event of its id is pending: under a key of its own, like what was given
-- back. What the same delivery posted there before, and waits still, is replaced.
local function beside(at)
  if at.event and at.event.origin == origin then return nil end
  local key, value = origin, nil
  repeat
    key = key .. '+'
    value = redis.call('HGET', leased, key)
    local waits = value and string.byte(value) == 10
    -- What is in a worker's hands, or parked, keeps its name.
  until waits or redis.call('HEXISTS', taken, key) == 0
  if value or at.event then return key, unpack_lease(value) end
end

for i, id in ipairs(ids) do
  if not found[id] then
    local at = newest_of(id, values[i])
    if at.waits then need(at.queue) end
    at.damaged = values[i] and not at.event and values[i]
    if conflict == 'follow' then
      at.beside, at.replaced = beside(at)
      if at.replaced then need(at.replaced.queue) end
    end
    found[id] = at
  end
end
if #missing > 0 then return asked_back() end

if even_full then even_when_full(events) end
local now_ms = ceil_ms(now_us())
local replies = {}
local earliest
local records, instants, index, replaced, any_tagged = {}, {}, {}, {}, false

-- What is new is stored all at once, before anything else is looked at or goes.
local function store_tags()
  if #index > 0 then redis.call('ZADD', tags, unpack(index)) end
  index = {}
end
local function store()
  store_tags()
  if #records == 0 then return end
  redis.call('HSET', events, unpack(records))
  redis.call('ZADD', here.due, unpack(instants))
  records, instants = {}, {}
end

for i = 4, #ARGV, 6 do
  local id, clock, when_ms, max_redeliveries, payload, kind =
    ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5]
  local at = found[id]
  local its_tags, cut = '', string.find(kind, '\255', 1, true)
  if cut then kind, its_tags = string.sub(kind, 1, cut - 1), string.sub(kind, cut + 1) end
  local due_ms = when_ms
  if clock == 'in' then due_ms = now_ms + math.max(when_ms, 0) end
  local latest_ms = 0
  if max_wait_ms > 0 then
    latest_ms = now_ms + max_wait_ms
    due_ms = math.min(due_ms, latest_ms)
  end

  if at.damaged then
    put_aside('events', id, at.damaged)
    at.damaged = nil
  end
  if at.beside or not at.waits or conflict == 'replace' or conflict == 'follow' then
    local record = pack_event(max_redeliveries, here.queue, payload, latest_ms, origin, kind, its_tags)
    local member = at.beside or id
    if cut then
      any_tagged = true
      for tag in each_tag(its_tags) do add(index, 0, tag .. '\255' .. id) end
      if #index > 2000 then store_tags() end
    end
    local tagged = cut and 1 or nil
    local before = at.waits and not at.beside and at.event
    if at.replaced and at.replaced.tagged then before = unpack_event(redis.call('HGET', taken, member)) end
    if at.waits and not at.beside and at.held and at.held.tagged then before = event_of(at) end
    if before and before.tags ~= '' then add(replaced, id, before.tags) end
    if at.beside then
      redis.call('ZADD', here.due, digits(due_ms), member)
      redis.call('HSET', taken, member, record)
      redis.call('HSET', leased, member, pack_lease('', '', 0, due_ms, here.queue, max_redeliveries, '', tagged))
      redis.call('ZADD', deliveries, 0, member)
    else
      add(records, id, record)
      add(instants, digits(due_ms), id)
    end
    if at.waits then store() end
    local left = at.beside and at.replaced or not at.beside and at.waits and at
    if left and left.queue ~= here.queue then redis.call('ZREM', places[left.queue].due, member) end
    if not at.beside and at.key and at.waits and conflict ~= 'follow' then end_lease(places[at.queue], at.key) end
    if left and left.queue ~= here.queue then tidy(places[left.queue]) end
    if not at.beside then
      found[id] = { waits = true, member = id, queue = here.queue, event =
        { queue = here.queue, payload = payload, latest_ms = latest_ms, origin = origin, tags = its_tags } }
    end
    replies[#replies + 1] = due_ms
    if not earliest or due_ms < earliest then earliest = due_ms end
  else
    store()
    local place = places[at.queue]
    local event = event_of(at)
    if conflict == 'postpone' then
      if event and event.latest_ms > 0 then due_ms = math.min(due_ms, event.latest_ms) end
      local held = at.held
      if held then
        redis.call('HSET', leased, at.key,
          pack_lease('', '', held.redeliveries, due_ms, held.queue, held.max_redeliveries, held.error,
            held.tagged))
      end
      redis.call('ZADD', place.due, digits(due_ms), at.member)
      announce(place, due_ms)
      replies[#replies + 1] = due_ms
    elseif conflict == 'keep' or (conflict == 'again' and event and event.payload == payload) then
      replies[#replies + 1] = score_of(place.due, at.member)
    else
      replies[#replies + 1] = -score_of(place.due, at.member)
    end
  end
end

store()
for i = 1, #replaced, 2 do untag(replaced[i], replaced[i + 1]) end
-- One of the others whose event may have been ended by an older worker: any, by the clock.
if any_tagged then
  local rank = now_us() % redis.call('ZCARD', tags)
  local tag, id = string.match(redis.call('ZRANGE', tags, rank, rank)[1], '^(.-)\255(.*)$')
  if tag then untag(id, tag) end
end
if earliest then announce(here, earliest) end
return replies
