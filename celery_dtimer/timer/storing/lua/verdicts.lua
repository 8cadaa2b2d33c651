-- verdicts: what was decided about deliveries of one queue. A token that is stale changes nothing.
--
-- KEYS events, leased, taken, deliveries, damaged, promise, parked, parked_at, parked_ids, tags; due, lease, wake of each queue
-- ARGV[1..] action, delay_ms, reason, error, decided
--         string, ms, string, string, bytes: one group for deliveries that follow each other with the same verdict;
--         decided: the key and the token of each, a MessagePack array of all; error: how they failed, '' = it is not
--         known, and what was known before stays. The actions:
--         confirm: end the lease and the event; end: it has ended well, and ends an event that somebody else holds by
--         now, too; one that waits to be claimed again is left: a post may have moved or kept it since; renew: the lease lapses delay_ms from now;
--         release: give it back, to be claimed again after delay_ms: that is a redelivery, and one too many is parked;
--         return: give back what had not started: it is no redelivery, and as early as it was;
--         leave: give it back for others, after delay_ms, and it is no redelivery either;
--         park: keep it aside, with the reason; put_aside: nobody can read it
-- reply: a string, one byte a delivery: 1 done, 2 parked instead, or ended though somebody else held it, 0 the token is stale and nothing changed
-- cost: O(log N) a delivery, and a tag of it

local place = places[queues[1]]
even_when_full(leased)
local us = now_us()
local ended, tagged, replies = {}, {}, {}

-- The tags of an event are taken out of the index in the end.
local function keep_tags(key, record)
  local _, its_tags = fields_of_event(record)
  if its_tags and its_tags ~= '' then add(tagged, id_of(key), its_tags) end
end

-- Whether a lease's record is of this token, or of any where it need not be; whether of this very one.
local function is_held(value, token, action)
  if string.byte(value, #token + 1) == 10 and string.sub(value, 1, #token) == token then return true, true end
  -- A newline stands first where nobody holds it.
  return action == 'end' and string.byte(value) ~= 10, false
end

-- Nothing of this is written until all is decided, so that the records can be read at once.
local function end_all(decided, action)
  local keys, with_tags = {}, {}
  for i = 1, #decided, 2 do keys[#keys + 1] = decided[i] end
  local values = redis.call('HMGET', leased, unpack(keys))
  for i, key in ipairs(keys) do
    local value, reply = values[i], 0
    if value and not ended[key] then
      local held, ours = is_held(value, decided[2 * i], action)
      if held then
        ended[#ended + 1] = key
        ended[key] = true
        if says_tagged(value) then with_tags[#with_tags + 1] = key end
        reply = ours and 1 or 2
      end
    end
    replies[#replies + 1] = reply
  end
  if #with_tags == 0 then return end
  local records = redis.call('HMGET', taken, unpack(with_tags))
  for i, key in ipairs(with_tags) do keep_tags(key, records[i]) end
end

local function decide(key, token, action, delay_ms, reason, error)
  local value = redis.call('HGET', leased, key)
  if not value or ended[key] or not is_held(value, token, action) then return 0 end
  if action == 'renew' then
    redis.call('ZADD', place.lease, digits(ceil_ms(us) + delay_ms), key)
    return 1
  end
  local held = unpack_lease(value)
  if not held or action == 'put_aside' then
    local record = redis.call('HGET', taken, key)
    put_aside('leased', key, value)
    put_aside('taken', key, record)
    keep_tags(key, record)
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

for i = 1, #ARGV, 5 do
  local action, delay_ms, reason, error, decided = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local keys_and_tokens = cmsgpack.unpack(decided)
  if action == 'confirm' or action == 'end' then
    end_all(keys_and_tokens, action)
  else
    for k = 1, #keys_and_tokens, 2 do
      replies[#replies + 1] = decide(keys_and_tokens[k], keys_and_tokens[k + 1], action, delay_ms, reason, error)
    end
  end
end
if #ended > 0 then
  redis.call('ZREM', place.lease, unpack(ended))
  redis.call('HDEL', leased, unpack(ended))
  redis.call('HDEL', taken, unpack(ended))
  redis.call('ZREM', deliveries, unpack(ended))
end
untag_all(tagged)
tidy(place)
return string.char(unpack(replies))
