-- count: how many events there are. Changes nothing, and reads no payload.
--
-- KEYS[1] leased          hash    lease key -> lease record
-- KEYS[2] parked          hash    id -> parked record
-- KEYS[3] promise         hash    queue -> promise; its fields are the queues that hold anything
-- ARGV[1] prefix          string  what the names of this shard's keys begin with (see cancel)
-- ARGV[2] offset_ms       ms      pending from this much after now; '' = from the first
-- ARGV[3] duration_ms     ms      for so long; '' = without an end
-- reply: [pending, leased, parked]; an event that was given back counts as leased
-- cost: O(queues * log N)

local leased = KEYS[1]
local parked = KEYS[2]
local promise = KEYS[3]
local prefix = ARGV[1]
local offset_ms = ARGV[2]
local duration_ms = ARGV[3]

local now_ms = floor_ms(now_us())
local from, to = '-inf', '+inf'
if offset_ms ~= '' then from = digits(now_ms + tonumber(offset_ms)) end
if duration_ms ~= '' then to = digits(now_ms + (tonumber(offset_ms) or 0) + tonumber(duration_ms)) end

local pending = 0
for _, queue in ipairs(redis.call('HKEYS', promise)) do
  pending = pending + redis.call('ZCOUNT', prefix .. 'due:' .. queue, from, to)
end
return { pending, redis.call('HLEN', leased), redis.call('HLEN', parked) }
