-- common: put in front of every script by scripts.py, which binds the keys that the script's header names, and
-- FIXED, their number, in front of it. What the scripts share: the layout's version, the clock, the records and how
-- they are read when they are damaged, the deliveries of an id, the promise, parking and putting aside.
--
-- A script reads and checks first and writes then, and what moves is in its new place before it leaves the old one.
--
--   events       hash    id -> event record, while it was never claimed
--   taken        hash    key -> event record, of what was claimed: leased, given back or parked.
--                event record: msgpack [max_redeliveries, queue, payload, latest_ms, origin, kind, tags].
--                latest_ms: postponing ends there, 0 = no bound; origin: the delivery whose retry posted it, '' = none;
--                kind: the task's name, '' = none; tags: a byte 255 between two of them, '' = none. Trailing defaults
--                are left out.
--   leased       hash    key -> lease record.
--                lease record: token, newline, msgpack [holder, redeliveries, due_ms, queue, max_redeliveries, error,
--                tagged]; token '' = it waits in `due` to be claimed again; error: of its last failed delivery, left
--                out if none; tagged: 1 = its event has tags, else left out
--   deliveries   zset    the keys of `leased`, in the order of their names: those of one id are a range
--   parked       hash    key -> msgpack [reason, parked_ms, redeliveries, due_ms, queue, max_redeliveries, holder, error].
--                holder: who had it last; error: as above. An older version wrote neither
--   parked_at    zset    the same keys -> parked_ms
--   parked_ids   zset    the same keys in the order of their names
--   tags         zset    a tag, a byte 255, and an id, in the order of their names: of all that has tags, wherever it
--                        stands, from its post to its end. Older workers know nothing of it: what they end stays in
--                        it until somebody comes past
--   damaged      hash    where a record stood that can't be read -> the record
--   promise      hash    queue -> 'at_ms listener': who wakes next, and when; nobody: it waits to be taken.
--                        Its fields are the queues that hold anything
--   due, lease   zset    a queue's: id or key -> due_ms; key -> lapse_ms.
--                        In `due`, what a claim met of a held kind stands BAND * n later, n being the kind's band: beyond
--                        every instant, so that no claim comes past it again, and where all else finds it
--   wake         list    a queue's: one token, or none
--   holds        hash    what is held: 'queue NAME' -> 1; 'kind NAME' -> its band, or minus that while it is resumed.
--                        'catch_up' -> the limit of limit.lua. A claim reads it whole
--   bucket       string  what a limit leaves to be claimed, see bucket.lua
--   hold_notes   hash    the same fields -> 'since_ms by', newline, why: for people. No claim reads it
--
-- A key is the id, a byte that no text has, and the first claim's instant and number: newer ones sort behind.

if redis.call('GET', KEYS[#KEYS]) ~= ARGV[#ARGV] then
  return redis.error_reply('LAYOUT ' .. (redis.call('GET', KEYS[#KEYS]) or ''))
end
table.remove(KEYS)
table.remove(ARGV)

-- In a cluster one more key, which is in no group, stands behind them (see keys.py).
local queues, places, missing = {}, {}, {}
for i = FIXED + 1, #KEYS - 2, 3 do
  local queue = string.match(KEYS[i], '^[^}]*}:due:(.*)$')
  queues[#queues + 1] = queue
  places[queue] = { due = KEYS[i], lease = KEYS[i + 1], wake = KEYS[i + 2], queue = queue }
end

-- A record says where the rest of its event stands. If the caller did not name the keys of that queue, nothing may
-- be changed, and the reply is ['QUEUES', queue, ...]: the caller asks again with their keys.
local function need(queue)
  if not places[queue] then missing[#missing + 1] = queue end
end
local function asked_back()
  if #missing > 0 then return { 'QUEUES', unpack(missing) } end
end

-- At its maxmemory, Redis refuses a script's first write if that may need memory, and none after a first that can't
-- (scriptVerifyOOM in Redis' script.c). What empties it in the end begins with one that does nothing.
local function even_when_full(hash) redis.call('HDEL', hash, '') end

local function now_us()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- An instant counts from the next whole millisecond, and is reached on a whole one: never early.
local function ceil_ms(us) return math.ceil(us / 1000) end
local function floor_ms(us) return math.floor(us / 1000) end

-- tostring() writes 1e+14 from fifteen digits on.
local function digits(number) return string.format('%.0f', number) end

-- A band is wider than the years 1 to 9999, and all of them are whole numbers in doubles.
local BAND, BANDS, BEFORE_1970 = 320000000000000, 27, 64000000000000
local function band_of(score)
  return math.max(0, math.min(BANDS, math.floor((score + BEFORE_1970) / BAND)))
end

-- A score as a number that a reply can carry; foreign ones may be infinite.
local function number_of(score)
  if score == 'inf' then return 2 ^ 53 end
  return math.max(-2 ^ 52, math.min(2 ^ 53, tonumber(score or 0) or 0))
end

-- The instant that a score stands for, also where it was set aside.
local function instant(score)
  local number = tonumber(score)
  if number and number >= 0 and number < BAND - BEFORE_1970 then return number end
  number = number_of(score)
  return number - band_of(number) * BAND
end

-- The bands of a `due` in which anything can be: 0 to this one.
local function last_band(due)
  local last = redis.call('ZRANGE', due, -1, -1, 'WITHSCORES')
  return band_of(number_of(last[2]))
end

-- Whether a sorted set has one member before another: Lua's own order is that of the server's locale.
local function stands_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- The bounds of what is due from one instant to another ('-inf' and '+inf': without a bound) and stands in a band.
local function bounds_of(band, from, to)
  local first, past = '-inf', '+inf'
  if from ~= '-inf' then first = digits(tonumber(from) + band * BAND)
  elseif band > 0 then first = digits(band * BAND - BEFORE_1970) end
  if to ~= '+inf' then past = digits(tonumber(to) + band * BAND)
  elseif band < BANDS then past = '(' .. digits((band + 1) * BAND - BEFORE_1970) end
  return first, past
end

local function score_of(zset, member) return instant(redis.call('ZSCORE', zset, member)) end

local function add(list, one, other)
  list[#list + 1] = one
  list[#list + 1] = other
end

-- The fields of a MessagePack array if the types of the first ones are these, or nil. A claim reads hundreds of
-- records: there is no list of the types that would be made for each.
local function fields_of(text, first, second, third, fourth, fifth, sixth)
  local whole, fields = pcall(cmsgpack.unpack, text)
  if not whole or type(fields) ~= 'table' or type(fields[1]) ~= first or type(fields[2]) ~= second
    or type(fields[3]) ~= third or fourth and type(fields[4]) ~= fourth or fifth and type(fields[5]) ~= fifth
    or sixth and type(fields[6]) ~= sixth then return nil end
  return fields
end

local function pack_event(max_redeliveries, queue, payload, latest_ms, origin, kind, its_tags)
  if its_tags ~= '' then
    return cmsgpack.pack({ max_redeliveries, queue, payload, latest_ms, origin, kind, its_tags })
  end
  local fields = { max_redeliveries, queue, payload }
  if latest_ms > 0 or origin ~= '' or kind ~= '' then fields[4] = latest_ms end
  if origin ~= '' or kind ~= '' then fields[5] = origin end
  if kind ~= '' then fields[6] = kind end
  return cmsgpack.pack(fields)
end

-- The fields of an event's record, or nil if there is none that can be read; and its tags.
local function fields_of_event(record)
  local fields = record and fields_of(record, 'number', 'string', 'string')
  if not fields then return nil end
  return fields, fields[7] and type(fields[7]) == 'string' and fields[7] or ''
end

-- An event's record, or nil if there is none that can be read.
local function unpack_event(record)
  local fields, its_tags = fields_of_event(record)
  if not fields then return nil end
  return { max_redeliveries = fields[1], queue = fields[2], payload = fields[3],
           latest_ms = tonumber(fields[4]) or 0, origin = fields[5] or '', kind = fields[6] or '', tags = its_tags }
end

-- A field that an older record lacks, or a damaged one has of another type.
local function text_of(field) return type(field) == 'string' and field or '' end

local function pack_lease(token, holder, redeliveries, due_ms, queue, max_redeliveries, error, tagged)
  local fields = { holder, redeliveries, due_ms, queue, max_redeliveries }
  if error ~= '' or tagged then fields[6] = error end
  if tagged then fields[7] = 1 end
  return token .. '\n' .. cmsgpack.pack(fields)
end

-- Whether a lease's record says that its event has tags, told without reading it: an array of seven begins so.
local function says_tagged(value) return string.byte(value, (string.find(value, '\n', 1, true) or #value) + 1) == 151 end

-- A lease's record, or nil if there is none that can be read.
local function unpack_lease(value)
  local cut = value and string.find(value, '\n', 1, true)
  local fields = cut and fields_of(string.sub(value, cut + 1), 'string', 'number', 'number', 'string', 'number')
  if not fields then return nil end
  return { token = string.sub(value, 1, cut - 1), holder = fields[1], redeliveries = fields[2],
           due_ms = fields[3], queue = fields[4], max_redeliveries = fields[5], error = text_of(fields[6]),
           tagged = fields[7] and 1 or nil }
end

local function id_of(key) return string.match(key, '^(.*)\255') end
local function is_key(member) return string.find(member, '\255', 1, true) ~= nil end

-- The keys of one id in `deliveries` or `parked_ids`, newest first; `most` of them, or all with -1.
local function keys_of(index, id, most)
  return redis.call('ZRANGE', index, '(' .. id .. '\255:', '[' .. id .. '\255', 'BYLEX', 'REV', 'LIMIT', 0, most)
end

-- The newest claimed one of an id: its key and its lease, or nil.
local nothing_claimed
local function newest_lease(id)
  if nothing_claimed == nil then nothing_claimed = redis.call('EXISTS', deliveries) == 0 end
  if nothing_claimed then return nil end
  for _, most in ipairs({ 1, -1 }) do
    local keys = keys_of(deliveries, id, most)
    for _, key in ipairs(keys) do
      local held = unpack_lease(redis.call('HGET', leased, key))
      if held then return key, held end
    end
    if #keys == 0 then return nil end
  end
end

-- What was posted last of an id, and whether it waits: `value` is what `events` has, if anything. Empty: nothing.
local function newest_of(id, value)
  local event = unpack_event(value)
  if event then return { waits = true, member = id, event = event, queue = event.queue } end
  local key, held = newest_lease(id)
  if not key then return { waits = false } end
  return { waits = held.token == '', member = key, key = key, held = held, queue = held.queue }
end

-- Its event, also when it was claimed before, or nil.
local function event_of(at)
  return at.event or unpack_event(redis.call('HGET', taken, at.key))
end

local function each_tag(joined) return string.gmatch(joined, '[^\255]+') end

local function has_tag(event, tag)
  return event and string.find('\255' .. event.tags .. '\255', '\255' .. tag .. '\255', 1, true) ~= nil
end

-- Whether an event is what a change of many is about.
local function is_chosen(event, if_tag, if_kind)
  if if_tag ~= '' and not has_tag(event, if_tag) then return false end
  return if_kind == '' or (event and event.kind == if_kind) or false
end

-- Which tags anything of an id has, as far as it has no more than some deliveries: beyond them, all of `wanted`.
local MOST_LOOKED_AT = 100
local function tags_in(waiting, indexes, id, wanted)
  local there = {}
  local function look(record)
    local _, its_tags = fields_of_event(record)
    for tag in each_tag(its_tags or '') do there[tag] = true end
  end
  look(waiting)
  for _, index in ipairs(indexes) do
    local keys = keys_of(index, id, MOST_LOOKED_AT)
    for _, key in ipairs(keys) do look(redis.call('HGET', taken, key)) end
    if #keys == MOST_LOOKED_AT then
      for tag in each_tag(wanted) do there[tag] = true end
    end
  end
  return there
end
local function tags_of(id, wanted)
  return tags_in(redis.call('HGET', events, id), { deliveries, parked_ids }, id, wanted)
end

-- Something has ended of each id that is listed with the tags that it had: what else there is of it keeps its own.
local function untag_all(listed)
  if #listed == 0 then return end
  local ids, indexes, gone = {}, {}, {}
  for i = 1, #listed, 2 do ids[#ids + 1] = listed[i] end
  for _, index in ipairs({ deliveries, parked_ids }) do
    if redis.call('EXISTS', index) == 1 then indexes[#indexes + 1] = index end
  end
  local waiting = redis.call('HMGET', events, unpack(ids))
  for i, id in ipairs(ids) do
    local joined = listed[2 * i]
    local there = (waiting[i] or #indexes > 0) and tags_in(waiting[i], indexes, id, joined) or {}
    for tag in each_tag(joined) do
      if not there[tag] then gone[#gone + 1] = tag .. '\255' .. id end
    end
    if #gone > 1000 or i == #ids and #gone > 0 then
      redis.call('ZREM', tags, unpack(gone))
      gone = {}
    end
  end
end
local function untag(id, joined) untag_all({ id, joined }) end

local function put_aside(where, field, value)
  if value then redis.call('HSET', damaged, where .. ' ' .. field, value) end
end

-- End a delivery, whatever of it there is.
local function end_lease(place, key)
  redis.call('ZREM', place.lease, key)
  redis.call('ZREM', place.due, key)
  redis.call('HDEL', leased, key)
  redis.call('HDEL', taken, key)
  redis.call('ZREM', deliveries, key)
end

-- What is parked keeps its key, and its record stays where it is.
local function park(place, key, held, redeliveries, reason, now_ms)
  local fields = { reason, now_ms, redeliveries, held.due_ms, held.queue, held.max_redeliveries, held.holder }
  if held.error ~= '' then fields[8] = held.error end
  redis.call('HSET', parked, key, cmsgpack.pack(fields))
  redis.call('ZADD', parked_at, digits(now_ms), key)
  redis.call('ZADD', parked_ids, 0, key)
  redis.call('ZREM', place.lease, key)
  redis.call('HDEL', leased, key)
  redis.call('ZREM', deliveries, key)
end

-- The newest parked one of an id: its key and its fields (nil: they can't be read), or nil.
local function newest_parked(id)
  local key = keys_of(parked_ids, id, 1)[1]
  if not key then return nil end
  local value = redis.call('HGET', parked, key)
  return key, value and fields_of(value, 'string', 'number', 'number', 'number', 'string', 'number')
end

local function first_score(zset)
  local head = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')
  if head[2] then return number_of(head[2]) end
end

-- Where an id is, for whoever asked for a change of it; the keys of its queue are there. Times are 0 where there is none.
local function whereabouts(id, at)
  if at.waits then
    local due_ms = score_of(places[at.queue].due, at.member)
    return { state = 'pending', queue = at.queue, due_ms = due_ms, since_ms = 0, until_ms = 0, holder = '', reason = '' }
  elseif at.queue then
    local held = at.held
    -- A token begins with the instant of its claim, in microseconds.
    local since_ms = math.floor((tonumber(string.sub(held.token, 1, 16)) or 0) / 1000)
    return { state = 'leased', queue = at.queue, due_ms = held.due_ms, since_ms = since_ms,
             until_ms = score_of(places[at.queue].lease, at.key), holder = held.holder, reason = '' }
  end
  local key, fields = newest_parked(id)
  fields = fields or { '', 0, 0, 0, '' }
  return { state = key and 'parked' or '', queue = fields[5], due_ms = fields[4], since_ms = fields[2], until_ms = 0,
           holder = '', reason = fields[1], key = key }
end

-- The reply to that: [done, state ('' = unknown), queue, was_due_ms, due_ms, since_ms, until_ms, holder, reason, payload].
local function answer(done, found, due_ms, payload)
  return { done, found.state, found.queue, found.due_ms, due_ms, found.since_ms, found.until_ms, found.holder,
           found.reason, payload }
end

-- The next instant at which something of a queue may be claimed, or nil; `first` is that of `due`, if it is known.
local function next_instant(place, ahead_ms, step_ms, first)
  local a, b = first, first_score(place.lease)
  if a == nil then a = first_score(place.due) end
  if a then a = a - ahead_ms end
  if b then b = b + step_ms end
  if a and b then return math.min(a, b) end
  return a or b
end

local function read_promise(queue)
  local value = redis.call('HGET', promise, queue)
  if not value then return nil, '' end
  local at_ms, by = string.match(value, '^(%-?%d+) (.*)$')
  return tonumber(at_ms), by
end

local function write_promise(queue, at_ms, by)
  redis.call('HSET', promise, queue, digits(at_ms) .. ' ' .. by)
end

local function push_token(wake)
  if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, '1') end
end

-- Something may be claimed at at_ms: wake somebody, unless an earlier instant is promised already.
local function announce(place, at_ms)
  local promised_ms = read_promise(place.queue)
  if promised_ms == nil or at_ms < promised_ms then
    write_promise(place.queue, at_ms, '')
    push_token(place.wake)
  end
end

-- A queue that holds nothing leaves nothing behind.
local function tidy(place)
  if redis.call('EXISTS', place.due, place.lease) == 0 then
    redis.call('HDEL', promise, place.queue)
    redis.call('DEL', place.wake)
  end
end
