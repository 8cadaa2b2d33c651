-- upcoming: a page of the pending events, soonest first. Changes nothing.
--
-- KEYS events, taken; due, lease, wake of each queue
-- ARGV[1] offset_ms       ms      from this much after now; '' = from the first, overdue ones included
-- ARGV[2] duration_ms     ms      for so long; '' = without an end
-- ARGV[3] skip            count   leave out so many of the soonest
-- ARGV[4] limit           count   at most so many
-- ARGV[5] most_bytes      count   with their payloads, and no more once they have so many bytes; 0 = without them
-- reply: array of [id, queue, due_ms, payload or '', tags or '']; those of one instant by queue, then id
-- cost: O(queues * (log N + limit)), whatever skip is: it is searched for and not walked

local offset_ms = ARGV[1]
local duration_ms = ARGV[2]
local skip = tonumber(ARGV[3])
local limit = tonumber(ARGV[4])
local most_bytes = tonumber(ARGV[5])

local now_ms = floor_ms(now_us())
local from, to = '-inf', '+inf'
if offset_ms ~= '' then from = digits(now_ms + tonumber(offset_ms)) end
if duration_ms ~= '' then to = digits(now_ms + (tonumber(offset_ms) or 0) + tonumber(duration_ms)) end

-- What each queue has to offer, as ranks in `due`: from `first` on, `past` excluded.
table.sort(queues)
local parts = {}
for _, queue in ipairs(queues) do
  local due = places[queue].due
  for band = 0, last_band(due) do
    local first, last = bounds_of(band, from, to)
    local rank = first == '-inf' and 0 or redis.call('ZCOUNT', due, '-inf', '(' .. first)
    local past = redis.call('ZCOUNT', due, '-inf', last)
    parts[#parts + 1] = { queue = queue, due = due, first = rank, past = past, shift = band * BAND }
  end
end

-- How many of a part are due before an instant.
local function before(part, at_ms)
  local rank = redis.call('ZCOUNT', part.due, '-inf', '(' .. digits(at_ms + part.shift))
  return math.max(0, math.min(rank, part.past) - part.first)
end

local function before_all(at_ms)
  local count = 0
  for _, part in ipairs(parts) do count = count + before(part, at_ms) end
  return count
end

-- The latest instant with no more than `skip` events before it: 48 steps at most halve what an instant can be.
if skip > 0 then
  local low, high = 0, 2 ^ 48
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if before_all(middle) <= skip then low = middle else high = middle end
  end
  skip = skip - before_all(low)
  for _, part in ipairs(parts) do
    local there = before(part, low + 1) - before(part, low)
    local left_out = math.min(there, skip)
    part.first = part.first + before(part, low) + left_out
    skip = skip - left_out
  end
end

local found = {}
for i, part in ipairs(parts) do
  local last = math.min(part.first + limit, part.past) - 1
  local page = last < part.first and {} or redis.call('ZRANGE', part.due, part.first, last, 'WITHSCORES')
  for at = 1, #page, 2 do
    found[#found + 1] = { row = { page[at], part.queue, instant(page[at + 1]), '', '' }, part = i, at = at }
  end
end
table.sort(found, function(a, b)
  if a.row[3] ~= b.row[3] then return a.row[3] < b.row[3] end
  if a.part ~= b.part then return a.part < b.part end
  return a.at < b.at
end)

local replies, bytes = {}, 0
for i = 1, math.min(limit, #found) do
  local row = found[i].row
  if most_bytes > 0 then
    if bytes >= most_bytes then break end
    local record = redis.call('HGET', events, row[1]) or redis.call('HGET', taken, row[1])
    local event = unpack_event(record)
    if event then row[4], row[5] = event.payload, event.tags end
    bytes = bytes + #row[4]
  end
  if is_key(row[1]) and redis.call('HEXISTS', events, row[1]) == 0 then row[1] = id_of(row[1]) end
  replies[i] = row
end
return replies
