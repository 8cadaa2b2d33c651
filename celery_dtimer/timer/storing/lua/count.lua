-- count: how many events of some queues there are. Changes nothing, and reads no record.
--
-- KEYS parked, damaged; due, lease, wake of each queue
-- ARGV[1] offset_ms       ms      pending from this much after now; '' = from the first
-- ARGV[2] duration_ms     ms      for so long; '' = without an end
-- reply: [pending, leased, parked, damaged]; parked and damaged are those of all queues
-- cost: O(queues * log N)

local offset_ms = ARGV[1]
local duration_ms = ARGV[2]

local now_ms = floor_ms(now_us())
local from, to = '-inf', '+inf'
if offset_ms ~= '' then from = digits(now_ms + tonumber(offset_ms)) end
if duration_ms ~= '' then to = digits(now_ms + (tonumber(offset_ms) or 0) + tonumber(duration_ms)) end

local pending, held = 0, 0
for _, queue in ipairs(queues) do
  local due = places[queue].due
  if from == '-inf' and to == '+inf' then
    pending = pending + redis.call('ZCARD', due)
  else
    for band = 0, last_band(due) do pending = pending + redis.call('ZCOUNT', due, bounds_of(band, from, to)) end
  end
  held = held + redis.call('ZCARD', places[queue].lease)
end
return { pending, held, redis.call('HLEN', parked), redis.call('HLEN', damaged) }
