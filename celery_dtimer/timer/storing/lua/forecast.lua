-- forecast: how many events are due in each of some intervals, by queue. Changes nothing, and reads no record.
--
-- KEYS promise; due, lease, wake of each queue
-- ARGV[1] offset_ms       ms      the first interval begins so long from now
-- ARGV[2] step_ms         ms      and each is so long
-- ARGV[3] intervals       count   so many of them
-- reply: one array a queue: a count an interval
-- cost: O(queues * intervals * log N)

local offset_ms = tonumber(ARGV[1])
local step_ms = tonumber(ARGV[2])
local intervals = tonumber(ARGV[3])

local first_ms = floor_ms(now_us()) + offset_ms
local replies = {}
for number, queue in ipairs(queues) do
  local due, counts = places[queue].due, {}
  -- What has no promise holds nothing.
  local bands = redis.call('HEXISTS', promise, queue) == 1 and last_band(due) or -1
  for i = 1, intervals do
    -- An instant on a bound is of the later interval.
    local from = digits(first_ms + (i - 1) * step_ms)
    local to = digits(first_ms + i * step_ms - 1)
    local count = 0
    for band = 0, bands do count = count + redis.call('ZCOUNT', due, bounds_of(band, from, to)) end
    counts[i] = count
  end
  replies[number] = counts
end
return replies
