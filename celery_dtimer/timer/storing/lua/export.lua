-- export: a page of what waits in a queue, or of what is parked, with all of each event. Changes nothing.
--
-- KEYS events, leased, taken, parked, parked_at; due, lease, wake of each queue
-- ARGV[1] what            string  due: what waits in the queue named; parked: what is parked, of all queues
-- ARGV[2] after           string  the score of the last one of the page before; '' = from the first on
-- ARGV[3] after_member    bytes   and its member
-- ARGV[4] limit           count   at most so many
-- ARGV[5] most_bytes      count   and no more once their payloads have so many bytes
-- reply: [after, after_member, rows]: the last one of the page, after '' = there are no more; an array of [member, is_id,
--        queue, due_ms, redeliveries, max_redeliveries, kind, tags, payload, reason, parked_ms]; max_redeliveries -1: its
--        record can't be read
-- cost: O(log N + limit)

local what = ARGV[1]
local after = ARGV[2]
local after_member = ARGV[3]
local limit = tonumber(ARGV[4])
local most_bytes = tonumber(ARGV[5])

local zset = parked_at
if what == 'due' then zset = places[queues[1]].due end

-- How many stand before the page. What the page before ended with may be gone by now, or stand elsewhere.
local first = 0
if after ~= '' then
  first = redis.call('ZCOUNT', zset, '-inf', '(' .. after)
  local past = redis.call('ZCOUNT', zset, '-inf', after)
  while first < past do
    local middle = math.floor((first + past) / 2)
    if stands_before(after_member, redis.call('ZRANGE', zset, middle, middle)[1]) then
      past = middle
    else
      first = middle + 1
    end
  end
end

local function row_of(member, score)
  local waiting = what == 'due' and redis.call('HGET', events, member)
  local event = unpack_event(waiting or redis.call('HGET', taken, member))
  if not event then return { member, waiting and 1 or 0, '', 0, 0, -1, '', '', '', '', 0 } end
  local due_ms, redeliveries, reason, parked_ms = instant(score), 0, '', 0
  if what == 'parked' then
    local value = redis.call('HGET', parked, member)
    local fields = value and fields_of(value, 'string', 'number', 'number', 'number', 'string', 'number')
    fields = fields or { 'its record is unreadable', 0, 0, 0 }
    reason, redeliveries, due_ms, parked_ms = fields[1], fields[3], fields[4], number_of(score)
  elseif not waiting then
    local held = unpack_lease(redis.call('HGET', leased, member))
    redeliveries = held and held.redeliveries or 0
  end
  return { member, waiting and 1 or 0, event.queue, due_ms, redeliveries, event.max_redeliveries, event.kind,
           event.tags, event.payload, reason, parked_ms }
end

local page = redis.call('ZRANGE', zset, first, first + limit - 1, 'WITHSCORES')
local rows, bytes, i = {}, 0, 1
while i < #page and bytes < most_bytes do
  local row = row_of(page[i], page[i + 1])
  rows[#rows + 1] = row
  bytes = bytes + #row[9]
  i = i + 2
end
if i > #page and #page < 2 * limit then return { '', '', rows } end
return { page[i - 1], page[i - 2], rows }
