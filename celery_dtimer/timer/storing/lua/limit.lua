-- limit: bound the rate at which what is long overdue is claimed, or forget that bound.
--
-- KEYS promise, holds, hold_notes; due, lease, wake of each queue
-- ARGV[1] value           string  'rate after_ms': so many events in 1,000 s of what is overdue by more; a rate of 0: no
--                                 bound, whatever the listeners' own says; '' = forget, and theirs counts
-- ARGV[2] by              string  who sets it: one line
-- ARGV[3] why             string
-- reply: 1 one was stored before, 0 none
-- cost: O(queues * log N)

local value = ARGV[1]
local by = ARGV[2]
local why = ARGV[3]

even_when_full(holds)
local was = redis.call('HEXISTS', holds, 'catch_up')
if value == '' then
  redis.call('HDEL', holds, 'catch_up')
  redis.call('HDEL', hold_notes, 'catch_up')
else
  redis.call('HSET', holds, 'catch_up', value)
  redis.call('HSET', hold_notes, 'catch_up', digits(floor_ms(now_us())) .. ' ' .. by .. '\n' .. why)
end
-- Whoever has promised to wake may have done so for the end of a long wait: somebody looks now.
for _, queue in ipairs(queues) do
  local at_ms = next_instant(places[queue], 0, 0)
  local _, promised_by = read_promise(queue)
  if at_ms and promised_by ~= 'held' then
    write_promise(queue, at_ms, '')
    push_token(places[queue].wake)
  end
end
return was
