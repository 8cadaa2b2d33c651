-- parked: a page of what is parked, the newest first. Changes nothing.
--
-- KEYS taken, parked, parked_at, parked_ids; due, lease, wake of each queue
-- ARGV[1] before_ms       ms      '' = from the newest on; what was parked then or earlier
-- ARGV[2] before_key      bytes   and of that instant, keys before this one
-- ARGV[3] limit           count   at most so many
-- ARGV[4] most            count   look at so many at most
-- ARGV[5] most_bytes      count   look at no more once their records have so many bytes
-- ARGV[6] kind            string  of this kind alone; '' = of any
-- ARGV[7] reason          string  only those whose reason has this text in it; '' = all
-- ARGV[8] id              string  only those of this id, all that are not too many at once; '' = of any
-- reply: [at_ms, at_key, rows]: the last that was looked at, at_key '' = there are no more; an array of [key, parked_ms,
--        reason, redeliveries, due_ms, queue, max_redeliveries, kind, holder, error,
--        tags]
-- cost: O(log N + most)

local before_ms = ARGV[1]
local before_key = ARGV[2]
local limit = tonumber(ARGV[3])
local most = tonumber(ARGV[4])
local most_bytes = tonumber(ARGV[5])
local kind = ARGV[6]
local reason = ARGV[7]
local id = ARGV[8]

local rows, looked, bytes, at_ms, at_key = {}, 0, 0, 0, ''

local function look(key, parked_ms)
  local value = redis.call('HGET', parked, key)
  local fields = value and fields_of(value, 'string', 'number', 'number', 'number', 'string', 'number')
  if not fields then fields = { 'its record is unreadable', 0, 0, 0, '', 0 } end
  looked, at_ms, at_key = looked + 1, parked_ms, key
  if reason ~= '' and not string.find(fields[1], reason, 1, true) then return end
  local record = redis.call('HGET', taken, key)
  local event = unpack_event(record)
  bytes = bytes + #(record or '')
  local of = event and event.kind or ''
  if kind == '' or of == kind then
    rows[#rows + 1] = { key, at_ms, fields[1], fields[3], fields[4], fields[5], fields[6], of,
                        text_of(fields[7]), text_of(fields[8]),
                        event and event.tags or '' }
  end
end

if id ~= '' then
  for _, key in ipairs(keys_of(parked_ids, id, math.min(limit, most))) do
    look(key, number_of(redis.call('ZSCORE', parked_at, key)))
  end
  return { at_ms, '', rows }
end

-- How many stand before the page.
local past = redis.call('ZCARD', parked_at)
if before_ms ~= '' then
  local low = redis.call('ZCOUNT', parked_at, '-inf', '(' .. before_ms)
  past = redis.call('ZCOUNT', parked_at, '-inf', before_ms)
  while low < past do
    local middle = math.floor((low + past) / 2)
    if stands_before(redis.call('ZRANGE', parked_at, middle, middle)[1], before_key) then
      low = middle + 1
    else
      past = middle
    end
  end
end

while past > 0 and #rows < limit and looked < most and bytes < most_bytes do
  local first = math.max(0, past - 100)
  local page = redis.call('ZRANGE', parked_at, first, past - 1, 'WITHSCORES')
  for i = #page - 1, 1, -2 do
    if #rows >= limit or looked >= most or bytes >= most_bytes then break end
    past = past - 1
    look(page[i], number_of(page[i + 1]))
  end
end
if past == 0 then at_key = '' end
return { at_ms, at_key, rows }
