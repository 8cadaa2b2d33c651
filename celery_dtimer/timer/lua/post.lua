-- post: store events of one queue.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] leased          hash    lease key -> lease record
-- KEYS[3] due             zset    id -> due_ms
-- KEYS[4] promise         hash    queue -> promise
-- KEYS[5] wake            list    wake tokens
-- ARGV[1] queue           string
-- ARGV[2] conflict        string  what a pending event of the same id means: error, keep, replace,
--                                 postpone, or again (error, unless the payload is the same: a repeat);
--                                 follow: replace, for what follows a delivery of the same id, and is stored
--                                 in a Redis at its maxmemory too: the delivery's end makes room for it
-- ARGV[3] max_wait_ms     ms      postpone: no later than this after the first post; 0 = no bound
-- ARGV[4] prefix          string  what the names of this shard's keys begin with: a pending event of the
--                                 same id may stand in another queue, which only its record knows
-- ARGV[5..] id, clock, when_ms, max_redeliveries, payload
--         string, string 'in' or 'at', ms, count, bytes: one group an event
-- reply: array of integers, one an event: the due_ms that is stored now; with conflict error or again
--        minus that, when the event was refused because another one is pending
-- cost: O(log N) an event

local events = KEYS[1]
local leased = KEYS[2]
local due = KEYS[3]
local promise = KEYS[4]
local wake = KEYS[5]
local queue = ARGV[1]
local conflict = ARGV[2]
local max_wait_ms = tonumber(ARGV[3])
local prefix = ARGV[4]

if conflict == 'follow' then
  even_when_full(events)
  conflict = 'replace'
end
local now_ms = ceil_ms(now_us())
local replies = {}
local earliest

for i = 5, #ARGV, 5 do
  local id, clock, when_ms, max_redeliveries, payload =
    ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4]
  local due_ms = when_ms
  if clock == 'in' then due_ms = now_ms + math.max(when_ms, 0) end
  local latest_ms = 0
  if max_wait_ms > 0 then
    latest_ms = now_ms + max_wait_ms
    due_ms = math.min(due_ms, latest_ms)
  end

  local record = pack_event(max_redeliveries, queue, payload, latest_ms, '')
  local store = redis.call('HSETNX', events, id, record) == 1
  if not store then
    local value = redis.call('HGET', events, id)
    local key = pointed_lease(value)
    local held = key and read_lease(leased, key)
    if key and not (held and held.token == '') then
      -- Under way: the new event stands beside the delivery, and knows it, so that a cancel ends both.
      redis.call('HSET', events, id, pack_event(max_redeliveries, queue, payload, latest_ms, key))
      store = true
    else
      -- It waits, in `due` or, if it was given back, in `lease`; maybe in another queue.
      local pending = unpack_event(held and held.record or value)
      local waits_in = prefix .. (held and 'lease:' or 'due:') .. pending.queue
      local pending_ms = tonumber(redis.call('ZSCORE', waits_in, key or id))
      if conflict == 'replace' then
        if held then
          end_lease(events, leased, waits_in, key, id, '')
        elseif pending.queue ~= queue then
          redis.call('ZREM', waits_in, id)
        end
        redis.call('HSET', events, id, pack_event(max_redeliveries, queue, payload, latest_ms, pending.older))
        if pending.queue ~= queue then
          tidy(prefix .. 'due:' .. pending.queue, prefix .. 'lease:' .. pending.queue, promise,
            prefix .. 'wake:' .. pending.queue, pending.queue)
        end
        store = true
      elseif conflict == 'postpone' then
        if pending.latest_ms > 0 then due_ms = math.min(due_ms, pending.latest_ms) end
        if held then
          redis.call('HSET', leased, key, pack_lease('', '', held.redeliveries, due_ms, id, held.record))
        end
        redis.call('ZADD', waits_in, digits(due_ms), key or id)
        announce(promise, prefix .. 'wake:' .. pending.queue, pending.queue, due_ms)
        replies[#replies + 1] = due_ms
      elseif conflict == 'keep' or (conflict == 'again' and pending.payload == payload) then
        replies[#replies + 1] = pending_ms
      else
        replies[#replies + 1] = -pending_ms
      end
    end
  end
  if store then
    redis.call('ZADD', due, digits(due_ms), id)
    replies[#replies + 1] = due_ms
    if not earliest or due_ms < earliest then earliest = due_ms end
  end
end

if earliest then announce(promise, wake, queue, earliest) end
return replies
