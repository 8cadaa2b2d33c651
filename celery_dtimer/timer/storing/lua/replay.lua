-- replay: make parked events pending again, with their redeliveries at zero, or drop them.
--
-- KEYS events, leased, taken, deliveries, damaged, promise, parked, parked_at, parked_ids, tags; due, lease, wake of each queue
-- ARGV[1] action          string  replay or drop
-- ARGV[2] most_bytes      count   take no more once their records have so many bytes
-- ARGV[3] dry_run         count   1 = change nothing, and answer as if it were done, 1 for a replay too
-- ARGV[4..] name, delay_ms
--         bytes, ms: one group an event: its key, or its id, which stands for the newest that is parked of it; due so long
--         from now
-- reply: array of integers, one an event: the new due_ms, or 1 it is dropped; 0 it was not looked at: there were so many
--        bytes; -1 nothing is parked under this name; -2 an event of its id is pending or leased
-- cost: O(log N) an event, and a tag of it

local action = ARGV[1]
local most_bytes = tonumber(ARGV[2])
local dry_run = tonumber(ARGV[3])

even_when_full(parked)
local found, delays, replies, bytes = {}, {}, {}, 0

-- The fields of what is parked under a key, and its event; nil what can't be read.
local function read(key)
  local value = redis.call('HGET', parked, key)
  return value and fields_of(value, 'string', 'number', 'number', 'number', 'string', 'number')
end

for i = 4, #ARGV, 2 do
  local name, delay_ms = ARGV[i], tonumber(ARGV[i + 1])
  local key = is_key(name) and name or newest_parked(name)
  found[#found + 1] = key or false
  delays[#delays + 1] = delay_ms
  local fields = key and read(key)
  if fields and action == 'replay' then need(fields[5]) end
end
if #missing > 0 then return asked_back() end

local function forget(key)
  redis.call('HDEL', parked, key)
  redis.call('ZREM', parked_at, key)
  redis.call('ZREM', parked_ids, key)
  redis.call('HDEL', taken, key)
end

local function in_use(key)
  local id = id_of(key)
  return redis.call('HEXISTS', events, id) == 1 or newest_lease(id)
end

local function replay(key, delay_ms)
  local id = id_of(key)
  local record, fields = redis.call('HGET', taken, key), read(key)
  local event = unpack_event(record)
  bytes = bytes + #(record or '')
  if not event or not fields or event.queue ~= fields[5] then
    put_aside('parked', key, redis.call('HGET', parked, key))
    put_aside('taken', key, record)
    forget(key)
    return -1
  end
  local due_ms = ceil_ms(now_us()) + delay_ms
  -- Whoever replays it posts it: it is no retry's to replace any more.
  redis.call('HSET', events, id,
    pack_event(event.max_redeliveries, event.queue, event.payload, event.latest_ms, '', event.kind, event.tags))
  redis.call('ZADD', places[event.queue].due, digits(due_ms), id)
  forget(key)
  announce(places[event.queue], due_ms)
  return due_ms
end

local any_tags = action == 'drop' and redis.call('EXISTS', tags) == 1
for i, key in ipairs(found) do
  if not key or redis.call('HEXISTS', parked, key) == 0 then
    replies[i] = -1
  elseif action == 'replay' and in_use(key) then
    replies[i] = -2
  elseif dry_run == 1 then
    replies[i] = 1
  elseif bytes >= most_bytes then
    replies[i] = 0
  elseif action == 'drop' then
    local record = any_tags and redis.call('HGET', taken, key)
    local event = unpack_event(record)
    bytes = bytes + #(record or '')
    forget(key)
    if event and event.tags ~= '' then untag(id_of(key), event.tags) end
    replies[i] = 1
  else
    replies[i] = replay(key, delays[i])
  end
end
return replies
