-- confirm: end leases, and with them their events.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] leased          hash    lease key -> lease record
-- KEYS[3] promise         hash    queue -> promise
-- KEYS[4] due             zset    id -> due_ms
-- KEYS[5] lease           zset    lease key -> lapse_ms
-- KEYS[6] wake            list    wake tokens
-- ARGV[1] queue           string
-- ARGV[2..] key, token, id
--         string, string, string: one group a delivery
-- reply: array of integers, one a delivery: 1 ended, 0 the token is stale and nothing changed
-- cost: O(log N) a delivery

local events = KEYS[1]
local leased = KEYS[2]
local promise = KEYS[3]
local due = KEYS[4]
local lease = KEYS[5]
local wake = KEYS[6]
local queue = ARGV[1]

local replies = {}
for i = 2, #ARGV, 3 do
  local key, token, id = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local value = redis.call('HGET', leased, key)
  if holds(value, token) then
    end_lease(events, leased, lease, key, id, older_of(unpack_lease(value).record))
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end
tidy(due, lease, promise, wake, queue)
return replies
