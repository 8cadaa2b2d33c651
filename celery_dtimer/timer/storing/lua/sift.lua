-- sift: what waits in a queue and is of a kind, soonest first, page by page. Changes nothing.
--
-- KEYS events, taken, holds; due, lease, wake of each queue
-- ARGV[1] kind            string
-- ARGV[2] held            count   1 = of what is set aside since the kind is held; 0 = of the rest
-- ARGV[3] offset_ms       ms      from this much after now; '' = from the first, overdue ones included
-- ARGV[4] duration_ms     ms      for so long; '' = without an end
-- ARGV[5] score           string  '' = from the first on; the page stands behind this score
-- ARGV[6] member          bytes   and this member
-- ARGV[7] limit           count   at most so many
-- ARGV[8] most            count   look at so many at most
-- ARGV[9] most_bytes      count   look at no more once their records have so many bytes
-- ARGV[10] payloads       count   1 = with their payloads
-- reply: [score, member, rows]: the last that was looked at, member '' = there are no more; rows as those of `tagged`
-- cost: O(log N + most)

local kind = ARGV[1]
local held = tonumber(ARGV[2])
local offset_ms = ARGV[3]
local duration_ms = ARGV[4]
local score = ARGV[5]
local member = ARGV[6]
local limit = tonumber(ARGV[7])
local most = tonumber(ARGV[8])
local most_bytes = tonumber(ARGV[9])
local payloads = tonumber(ARGV[10])

local queue, band = queues[1], 0
local due = places[queue].due
if held == 1 then
  band = math.abs(tonumber(redis.call('HGET', holds, 'kind ' .. kind) or 0))
  if band == 0 then return { '', '', {} } end
end

local now_ms = floor_ms(now_us())
local from, to = '-inf', '+inf'
if offset_ms ~= '' then from = digits(now_ms + tonumber(offset_ms)) end
if duration_ms ~= '' then to = digits(now_ms + (tonumber(offset_ms) or 0) + tonumber(duration_ms)) end
local first, final = bounds_of(band, from, to)
local rank = first == '-inf' and 0 or redis.call('ZCOUNT', due, '-inf', '(' .. first)
local past = redis.call('ZCOUNT', due, '-inf', final)
if score ~= '' then
  local low = redis.call('ZCOUNT', due, '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', due, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if stands_before(member, redis.call('ZRANGE', due, middle, middle)[1]) then high = middle else low = middle + 1 end
  end
  rank = math.max(rank, low)
end

local rows, looked, bytes = {}, 0, 0
while rank < past and #rows < limit and looked < most and bytes < most_bytes do
  local page = redis.call('ZRANGE', due, rank, math.min(rank + 100, past) - 1, 'WITHSCORES')
  if #page == 0 then break end
  for i = 1, #page, 2 do
    if #rows >= limit or looked >= most or bytes >= most_bytes then break end
    member, score = page[i], page[i + 1]
    rank, looked = rank + 1, looked + 1
    local record = redis.call('HGET', events, member) or redis.call('HGET', taken, member)
    local event = unpack_event(record)
    bytes = bytes + #(record or '')
    if event and event.kind == kind then
      rows[#rows + 1] = { 'pending', member, queue, instant(score), 0, '', 0, event.max_redeliveries, kind,
                          event.tags, payloads == 1 and event.payload or '' }
    end
  end
end
if rank >= past then member = '' end
return { score, member, rows }
