-- park: keep aside, with the reason, events that can't be delivered any more.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] leased          hash    lease key -> lease record
-- KEYS[3] parked          hash    id -> parked record
-- KEYS[4] promise         hash    queue -> promise
-- KEYS[5] due             zset    id -> due_ms
-- KEYS[6] lease           zset    lease key -> lapse_ms
-- KEYS[7] wake            list    wake tokens
-- ARGV[1] queue           string
-- ARGV[2] reason          string
-- ARGV[3..] key, token, id
--         string, string, string: one group a delivery
-- reply: array of integers, one a delivery: 1 parked, 0 the token is stale and nothing changed
-- cost: O(log N) a delivery

local events = KEYS[1]
local leased = KEYS[2]
local parked = KEYS[3]
local promise = KEYS[4]
local due = KEYS[5]
local lease = KEYS[6]
local wake = KEYS[7]
local queue = ARGV[1]
local reason = ARGV[2]

local now_ms = floor_ms(now_us())
local replies = {}
for i = 3, #ARGV, 3 do
  local key, token, id = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local value = redis.call('HGET', leased, key)
  if holds(value, token) then
    local held = unpack_lease(value)
    end_lease(events, leased, lease, key, id, older_of(held.record))
    park(parked, now_ms, id, reason, held)
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end
tidy(due, lease, promise, wake, queue)
return replies
