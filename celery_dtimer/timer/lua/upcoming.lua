-- upcoming: a page of the pending events, soonest first. Changes nothing.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] promise         hash    queue -> promise; its fields are the queues that hold anything
-- ARGV[1] prefix          string  what the names of this shard's keys begin with (see cancel)
-- ARGV[2] offset_ms       ms      from this much after now; '' = from the first, overdue ones included
-- ARGV[3] duration_ms     ms      for so long; '' = without an end
-- ARGV[4] skip            count   leave out so many of the soonest
-- ARGV[5] limit           count   at most so many
-- ARGV[6] payloads        count   1 = with their payloads
-- reply: array of [id, queue, due_ms, payload or '']; those of one instant by queue, then id
-- cost: O(queues * (log N + limit)), whatever skip is: it is searched for and not walked

local events = KEYS[1]
local promise = KEYS[2]
local prefix = ARGV[1]
local offset_ms = ARGV[2]
local duration_ms = ARGV[3]
local skip = tonumber(ARGV[4])
local limit = tonumber(ARGV[5])
local payloads = tonumber(ARGV[6])

local now_ms = floor_ms(now_us())
local from, to = '-inf', '+inf'
if offset_ms ~= '' then from = digits(now_ms + tonumber(offset_ms)) end
if duration_ms ~= '' then to = digits(now_ms + (tonumber(offset_ms) or 0) + tonumber(duration_ms)) end

-- What each queue has to offer, as ranks in `due`: from `first` on, `past` excluded.
local queues = redis.call('HKEYS', promise)
table.sort(queues)
local parts = {}
for i, queue in ipairs(queues) do
  local due = prefix .. 'due:' .. queue
  local before = from == '-inf' and 0 or redis.call('ZCOUNT', due, '-inf', '(' .. from)
  parts[i] = { queue = queue, due = due, first = before, past = redis.call('ZCOUNT', due, '-inf', to) }
end

-- How many of a part are due before an instant.
local function before(part, at_ms)
  local rank = redis.call('ZCOUNT', part.due, '-inf', '(' .. digits(at_ms))
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
    found[#found + 1] = { row = { page[at], part.queue, tonumber(page[at + 1]), '' }, part = i, at = at }
  end
end
table.sort(found, function(a, b)
  if a.row[3] ~= b.row[3] then return a.row[3] < b.row[3] end
  if a.part ~= b.part then return a.part < b.part end
  return a.at < b.at
end)

local replies = {}
for i = 1, math.min(limit, #found) do
  local row = found[i].row
  if payloads == 1 then row[4] = unpack_event(redis.call('HGET', events, row[1])).payload end
  replies[i] = row
end
return replies
