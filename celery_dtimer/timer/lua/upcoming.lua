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
-- reply: array of [id, queue, due_ms, payload or '']
-- cost: O(queues * (log N + skip + limit))

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

local found = {}
for _, queue in ipairs(redis.call('HKEYS', promise)) do
  local page = redis.call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, from, to, 'WITHSCORES', 'LIMIT', 0, skip + limit)
  for i = 1, #page, 2 do found[#found + 1] = { page[i], queue, tonumber(page[i + 1]), '' } end
end
table.sort(found, function(a, b)
  if a[3] ~= b[3] then return a[3] < b[3] end
  return a[1] < b[1]
end)

local replies = {}
for i = skip + 1, math.min(skip + limit, #found) do
  local row = found[i]
  if payloads == 1 then row[4] = unpack_event(redis.call('HGET', events, row[1])).payload end
  replies[#replies + 1] = row
end
return replies
