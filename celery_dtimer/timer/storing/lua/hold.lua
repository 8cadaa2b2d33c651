-- hold: keep what is of a queue, or of a kind, from being claimed, or let it be claimed again.
--
-- KEYS promise, holds, hold_notes; due, lease, wake of each queue
-- ARGV[1] action          string  hold or resume, of the named queue; hold_kind, resume_kind: of the kind;
--                                 take_back: while the kind is resumed, what is set aside of it in the named queues;
--                                 forget_kind: there is nothing of it left in any
-- ARGV[2] kind            string  '' = of a queue
-- ARGV[3] most            count   take_back takes so many at most
-- ARGV[4] by              string  who holds it: one line
-- ARGV[5] why             string
-- reply: hold, hold_kind: 1 it is held now, 2 it was before, and its note is new, 0 so many kinds are held that no band
--        is free; resume, resume_kind: 1, or 0 it was not held; take_back: how many, which are all if they are fewer
--        than `most`; forget_kind: 1, or 0 somebody holds it again
-- cost: O(queues * log N), and O(log N) an event that is taken back

local action = ARGV[1]
local kind = ARGV[2]
local most = tonumber(ARGV[3])
local by = ARGV[4]
local why = ARGV[5]

even_when_full(holds)
local field = 'kind ' .. kind
if kind == '' then field = 'queue ' .. queues[1] end
local held = tonumber(redis.call('HGET', holds, field))

local function keep(value)
  redis.call('HSET', holds, field, value)
  redis.call('HSET', hold_notes, field, digits(floor_ms(now_us())) .. ' ' .. by .. '\n' .. why)
  return held and 2 or 1
end

local function forget()
  redis.call('HDEL', hold_notes, field)
  return redis.call('HDEL', holds, field)
end

-- One that no kind has, or nil.
local function free_band()
  local settings, used = redis.call('HGETALL', holds), {}
  for i = 1, #settings, 2 do
    if string.sub(settings[i], 1, 5) == 'kind ' then used[math.abs(tonumber(settings[i + 1]))] = true end
  end
  for band = BANDS, 1, -1 do
    if not used[band] then return band end
  end
end

if action == 'hold' then
  -- The next claim of it settles its promise.
  return keep(1)
elseif action == 'resume' then
  local at_ms = held and next_instant(places[queues[1]], 0, 0)
  if at_ms then
    write_promise(queues[1], at_ms, '')
    push_token(places[queues[1]].wake)
  end
  return forget()
elseif action == 'hold_kind' then
  local band = held and math.abs(held) or free_band()
  return band and keep(band) or 0
elseif action == 'resume_kind' then
  -- Nothing more is set aside from here on. What is, is taken back by calls that follow.
  if held then redis.call('HSET', holds, field, -math.abs(held)) end
  return held and 1 or 0
elseif not held or held > 0 then
  return 0
elseif action == 'forget_kind' then
  return forget()
end

local moved = 0
local first, last = bounds_of(-held, '-inf', '+inf')
for _, queue in ipairs(queues) do
  local due = places[queue].due
  local found = redis.call('ZRANGEBYSCORE', due, first, last, 'WITHSCORES', 'LIMIT', 0, most - moved)
  for i = 1, #found, 2 do redis.call('ZADD', due, digits(instant(found[i + 1])), found[i]) end
  if found[2] then announce(places[queue], instant(found[2])) end
  moved = moved + #found / 2
end
return moved
