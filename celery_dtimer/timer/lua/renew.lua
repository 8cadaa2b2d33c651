-- renew: put the lapse of leases off.
--
-- KEYS[1] leased          hash    lease key -> lease record
-- KEYS[2] lease           zset    lease key -> lapse_ms
-- ARGV[1] lease_ms        ms      the leases lapse that long from now
-- ARGV[2..] key, token
--         string, string: one group a delivery
-- reply: array of integers, one a delivery: 1 renewed, 0 the token is stale and nothing changed
-- cost: O(log N) a delivery

local leased = KEYS[1]
local lease = KEYS[2]
local lease_ms = tonumber(ARGV[1])

even_when_full(leased)
local lapse_ms = ceil_ms(now_us()) + lease_ms
local replies = {}
for i = 2, #ARGV, 2 do
  local key, token = ARGV[i], ARGV[i + 1]
  if holds(redis.call('HGET', leased, key), token) then
    redis.call('ZADD', lease, lapse_ms, key)
    replies[#replies + 1] = 1
  else
    replies[#replies + 1] = 0
  end
end
return replies
