-- polling: put in front of claim by scripts.py, behind common. How often listeners look at a queue of their own accord.

local function seconds_of(value)
  local at, count, before = string.match(value or '', '^(%d+) (%d+) (%d+)$')
  return tonumber(at) or 0, tonumber(count), tonumber(before)
end

-- Counts a poll of a queue; returns how many there were in the last whole second, or in this one if they are more.
local function count_poll(queue, now_ms)
  local second = math.floor(now_ms / 1000)
  local at, count, before = seconds_of(redis.call('HGET', polls, queue))
  if at == second - 1 then
    count, before = 1, count
  elseif at == second then
    count = count + 1
  else
    count, before = 1, 0
  end
  redis.call('HSET', polls, queue, string.format('%.0f %.0f %.0f', second, count, before))
  -- One that nobody polls any more goes in the end, whoever polls others.
  local other = redis.call('HRANDFIELD', polls)
  if seconds_of(redis.call('HGET', polls, other)) < second - 1 then redis.call('HDEL', polls, other) end
  return math.max(count, before)
end
