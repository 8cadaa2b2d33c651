-- common: put in front of every script by scripts.py. What the scripts share: the clock, the three
-- record formats, the promise, and parking. Nothing here loops over more than one id's deliveries.
--
-- A value in `events` is a pending event's record, or '@' and the key of the lease that holds it now.
--   event record:  msgpack [max_redeliveries, queue, payload, latest_ms, older]
--                  latest_ms: postponing ends there, 0 = no bound; older: the lease of an earlier
--                  delivery of the same id that was under way at posting, '' = none. Trailing defaults are left out.
--   lease record:  token, newline, msgpack [holder, redeliveries, due_ms, id, event record]
--                  token '' = given back: the event waits in `lease` until it may be claimed again.
--   parked record: msgpack [reason, parked_ms, redeliveries, due_ms, event record]
-- A value in `promise` is 'at_ms listener': that listener has promised to wake at that instant;
-- an empty listener is a promise that waits for somebody to take it.

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

local function pack_event(max_redeliveries, queue, payload, latest_ms, older)
  local fields = { max_redeliveries, queue, payload }
  if latest_ms > 0 or older ~= '' then fields[4] = latest_ms end
  if older ~= '' then fields[5] = older end
  return cmsgpack.pack(fields)
end

local function unpack_event(record)
  local fields = cmsgpack.unpack(record)
  return { max_redeliveries = fields[1], queue = fields[2], payload = fields[3],
           latest_ms = fields[4] or 0, older = fields[5] or '' }
end

-- Most events have no older delivery, and then their record is one of fewer than five fields.
local function older_of(record)
  if string.byte(record) ~= 0x95 then return '' end
  return unpack_event(record).older
end

local function with_older(event, older)
  return pack_event(event.max_redeliveries, event.queue, event.payload, event.latest_ms, older)
end

local function lease_pointer(key) return '@' .. key end

-- The key of the lease that a value of `events` points to, or nil if the value is a pending event.
local function pointed_lease(value)
  if string.byte(value) == 64 then return string.sub(value, 2) end
end

local function pack_lease(token, holder, redeliveries, due_ms, id, record)
  return token .. '\n' .. cmsgpack.pack({ holder, redeliveries, due_ms, id, record })
end

local function unpack_lease(value)
  local cut = string.find(value, '\n', 1, true)
  local fields = cmsgpack.unpack(string.sub(value, cut + 1))
  return { token = string.sub(value, 1, cut - 1), holder = fields[1], redeliveries = fields[2],
           due_ms = fields[3], id = fields[4], record = fields[5] }
end

-- The lease `key` as it stands, or nil if there is none.
local function read_lease(leased, key)
  local value = redis.call('HGET', leased, key)
  if value then return unpack_lease(value) end
end

local function holds(value, token)
  return value and string.sub(value, 1, #token + 1) == token .. '\n'
end

local function first_score(zset)
  local head = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')
  return tonumber(head[2])
end

-- The next instant at which something of a queue may be claimed, or nil.
local function next_instant(due, lease, ahead_ms, step_ms)
  local a, b = first_score(due), first_score(lease)
  if a then a = a - ahead_ms end
  if b then b = b + step_ms end
  if a and b then return math.min(a, b) end
  return a or b
end

local function read_promise(promise, queue)
  local value = redis.call('HGET', promise, queue)
  if not value then return nil, '' end
  local at_ms, by = string.match(value, '^(%-?%d+) (.*)$')
  return tonumber(at_ms), by
end

local function write_promise(promise, queue, at_ms, by)
  redis.call('HSET', promise, queue, digits(at_ms) .. ' ' .. by)
end

local function push_token(wake)
  if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, '1') end
end

-- Something may be claimed at at_ms: wake somebody, unless an earlier instant is promised already.
local function announce(promise, wake, queue, at_ms)
  local promised_ms = read_promise(promise, queue)
  if promised_ms == nil or at_ms < promised_ms then
    write_promise(promise, queue, at_ms, '')
    push_token(wake)
  end
end

-- A queue that holds nothing leaves nothing behind.
local function tidy(due, lease, promise, wake, queue)
  if redis.call('EXISTS', due, lease) == 0 then
    redis.call('HDEL', promise, queue)
    redis.call('DEL', wake)
  end
end

-- The delivery that was under way when `id` was posted anew is known by what came after it. What came after
-- it, the lease `key`, has ended: it is known by what comes next, or `id` points to it again.
local function pass_older(events, leased, id, key, older)
  local value = redis.call('HGET', events, id)
  if value == lease_pointer(key) then
    if older ~= '' and redis.call('HEXISTS', leased, older) == 1 then
      redis.call('HSET', events, id, lease_pointer(older))
    else
      redis.call('HDEL', events, id)
    end
  elseif value and older ~= '' then
    local at = pointed_lease(value)
    if not at then
      local event = unpack_event(value)
      at = event.older
      if at == key then redis.call('HSET', events, id, with_older(event, older)) end
    end
    for _ = 1, 16 do
      local held = at ~= key and read_lease(leased, at)
      if not held then return end
      local event = unpack_event(held.record)
      if event.older == key then
        redis.call('HSET', leased, at, pack_lease(held.token, held.holder, held.redeliveries, held.due_ms, id,
          with_older(event, older)))
      end
      at = event.older
    end
  end
end

local function end_lease(events, leased, lease, key, id, older)
  redis.call('ZREM', lease, key)
  redis.call('HDEL', leased, key)
  pass_older(events, leased, id, key, older)
end

local function park(parked, now_ms, id, reason, held)
  redis.call('HSET', parked, id,
    cmsgpack.pack({ reason, now_ms, held.redeliveries, held.due_ms, held.record }))
end
