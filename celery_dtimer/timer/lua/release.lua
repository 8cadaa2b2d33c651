-- release: give leases back; the events may be claimed again at once or after a backoff. One that was never
-- redelivered, and had not started, is as it was before it was claimed.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] leased          hash    lease key -> lease record
-- KEYS[3] parked          hash    id -> parked record
-- KEYS[4] promise         hash    queue -> promise
-- KEYS[5] due             zset    id -> due_ms
-- KEYS[6] lease           zset    lease key -> lapse_ms
-- KEYS[7] wake            list    wake tokens
-- ARGV[1] queue           string
-- ARGV[2] backoff_ms      ms      not to be claimed before that much time has passed
-- ARGV[3] counted         count   1 = a redelivery, parked when there were too many; 0 = it had not started
-- ARGV[4] reason          string  why, for an event that is parked by this
-- ARGV[5..] key, token, id
--         string, string, string: one group a delivery
-- reply: array of integers, one a delivery: 1 given back, 2 parked, 0 the token is stale and nothing changed
-- cost: O(log N) a delivery

local events = KEYS[1]
local leased = KEYS[2]
local parked = KEYS[3]
local promise = KEYS[4]
local due = KEYS[5]
local lease = KEYS[6]
local wake = KEYS[7]
local queue = ARGV[1]
local backoff_ms = tonumber(ARGV[2])
local counted = tonumber(ARGV[3])
local reason = ARGV[4]

even_when_full(leased)
local now_ms = ceil_ms(now_us())
local replies = {}
for i = 5, #ARGV, 3 do
  local key, token, id = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local value = redis.call('HGET', leased, key)
  if not holds(value, token) then
    replies[#replies + 1] = 0
  else
    local held = unpack_lease(value)
    held.redeliveries = held.redeliveries + counted
    if held.redeliveries > unpack_event(held.record).max_redeliveries then
      end_lease(events, leased, lease, key, id, older_of(held.record))
      park(parked, now_ms, id, 'redelivered too often: ' .. reason, held)
      replies[#replies + 1] = 2
    elseif counted == 0 and backoff_ms == 0 and held.redeliveries == 0
        and redis.call('HGET', events, id) == lease_pointer(key) then
      redis.call('ZREM', lease, key)
      redis.call('HDEL', leased, key)
      redis.call('HSET', events, id, held.record)
      redis.call('ZADD', due, digits(held.due_ms), id)
      announce(promise, wake, queue, held.due_ms)
      replies[#replies + 1] = 1
    else
      redis.call('HSET', leased, key, pack_lease('', '', held.redeliveries, held.due_ms, id, held.record))
      redis.call('ZADD', lease, digits(now_ms + backoff_ms), key)
      announce(promise, wake, queue, now_ms + backoff_ms)
      replies[#replies + 1] = 1
    end
  end
end
tidy(due, lease, promise, wake, queue)
return replies
