-- verdicts: what was decided about deliveries of one queue. A token that is stale changes nothing.
--
-- KEYS events, leased, taken, deliveries, damaged, promise, parked, parked_at, parked_ids, tags; due, lease, wake of each queue
-- ARGV[1..] key, token, action, delay_ms, reason, error
--         string, string, string, ms, string, string: one group a delivery; error: how it failed, '' = it is not
--         known, and what was known before stays. The actions:
--         confirm: end the lease and the event; end: it has ended well, and ends an event that somebody else holds by
--         now, too; one that waits to be claimed again is left: a post may have moved or kept it since; renew: the lease lapses delay_ms from now;
--         release: give it back, to be claimed again after delay_ms: that is a redelivery, and one too many is parked;
--         return: give back what had not started: it is no redelivery, and as early as it was;
--         leave: give it back for others, after delay_ms, and it is no redelivery either;
--         park: keep it aside, with the reason; put_aside: nobody can read it
-- reply: array of integers, one a delivery: 1 done, 2 parked instead, or ended though somebody else held it, 0 the token is stale and nothing changed
-- cost: O(log N) a delivery, and a tag of it

local place = places[queues[1]]
even_when_full(leased)
local us = now_us()
local ended, tagged, replies = {}, {}, {}

-- The tags of a delivery's event are taken out of the index in the end.
local function keep_tags(key)
  local event = unpack_event(redis.call('HGET', taken, key))
  if event and event.tags ~= '' then add(tagged, id_of(key), event.tags) end
end

local function decide(key, token, action, delay_ms, reason, error)
  local value = redis.call('HGET', leased, key)
  if not value or ended[key] then return 0 end
  local ours = string.sub(value, 1, #token + 1) == token .. '\n'
  -- A newline stands first where nobody holds it.
  if not ours and (action ~= 'end' or string.byte(value) == 10) then return 0 end
  if action == 'confirm' or action == 'end' then
    ended[#ended + 1] = key
    ended[key] = true
    if says_tagged(value) then keep_tags(key) end
    return ours and 1 or 2
  elseif action == 'renew' then
    redis.call('ZADD', place.lease, digits(ceil_ms(us) + delay_ms), key)
    return 1
  end
  local held = unpack_lease(value)
  if not held or action == 'put_aside' then
    put_aside('leased', key, value)
    put_aside('taken', key, redis.call('HGET', taken, key))
    keep_tags(key)
    end_lease(place, key)
    return 0
  end
  local redeliveries = held.redeliveries
  if error ~= '' then held.error = error end
  if action == 'release' then
    redeliveries = redeliveries + 1
    if redeliveries > held.max_redeliveries then
      park(place, key, held, redeliveries, 'redelivered too often: ' .. reason, floor_ms(us))
      return 2
    end
  elseif action == 'park' then
    park(place, key, held, redeliveries, reason, floor_ms(us))
    return 1
  end
  -- What was claimed ahead of its time is not early for it.
  local at_ms = math.max(ceil_ms(us) + delay_ms, held.due_ms)
  if action == 'return' and delay_ms == 0 then at_ms = held.due_ms end
  redis.call('HSET', leased, key,
    pack_lease('', '', redeliveries, held.due_ms, held.queue, held.max_redeliveries, held.error, held.tagged))
  redis.call('ZADD', place.due, digits(at_ms), key)
  redis.call('ZREM', place.lease, key)
  announce(place, at_ms)
  return 1
end

for i = 1, #ARGV, 6 do
  local key, token, action, delay_ms, reason, error =
    ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5]
  replies[#replies + 1] = decide(key, token, action, delay_ms, reason, error)
end
if #ended > 0 then
  redis.call('ZREM', place.lease, unpack(ended))
  redis.call('HDEL', leased, unpack(ended))
  redis.call('HDEL', taken, unpack(ended))
  redis.call('ZREM', deliveries, unpack(ended))
end
for i = 1, #tagged, 2 do untag(tagged[i], tagged[i + 1]) end
tidy(place)
return replies
