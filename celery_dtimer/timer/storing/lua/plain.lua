-- plain: put in front of post by scripts.py, before common, whose functions cost every call that makes them. One new
-- event, without tags, that neither follows a delivery nor is bounded: most posts. All others go on to post.lua, with
-- nothing changed; it would store the very same.
if #ARGV == 10 and ARGV[2] == '' and ARGV[3] == '0' and #KEYS < FIXED + 6 and ARGV[1] ~= 'follow'
  and not string.find(ARGV[9], '\255', 1, true) and redis.call('GET', KEYS[#KEYS]) == ARGV[10] then
  local id, when_ms, kind = ARGV[4], tonumber(ARGV[6]), ARGV[9]
  local due, wake = KEYS[FIXED + 1], KEYS[FIXED + 3]
  local queue = string.match(due, '^[^}]*}:due:(.*)$')
  local fields = { tonumber(ARGV[7]), queue, ARGV[8] }
  if kind ~= '' then fields[4], fields[5], fields[6] = 0, '', kind end
  local due_ms = when_ms
  if ARGV[5] == 'in' then
    local t = redis.call('TIME')
    due_ms = math.ceil((t[1] * 1000000 + t[2]) / 1000) + math.max(when_ms, 0)
  end
  -- Nothing of its id is claimed, and nothing waits.
  local claimed = redis.call('ZRANGE', deliveries, '[' .. id .. '\255', '(' .. id .. '\255:', 'BYLEX', 'LIMIT', 0, 1)
  if not claimed[1] and redis.call('HEXISTS', events, id) == 0 then
    local score = string.format('%.0f', due_ms)
    redis.call('HSET', events, id, cmsgpack.pack(fields))
    redis.call('ZADD', due, score, id)
    local promised = redis.call('HGET', promise, queue)
    local promised_ms = promised and tonumber(string.match(promised, '^(%-?%d+) '))
    if not promised_ms or due_ms < promised_ms then
      redis.call('HSET', promise, queue, score .. ' ')
      if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, '1') end
    end
    return { due_ms }
  end
end
