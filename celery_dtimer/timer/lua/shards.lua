-- shards: how many shards the namespace has. Its first use settles that.
--
-- KEYS[1] shards          string  how many shards, as digits; missing: 1, or the namespace is new
-- KEYS[2] events          hash    id -> event record, or a pointer to its lease
-- KEYS[3] parked          hash    id -> parked record
-- ARGV[1] count           count   how many the caller takes there to be
-- reply: how many there are
-- cost: O(1)

local shards = KEYS[1]
local events = KEYS[2]
local parked = KEYS[3]
local count = tonumber(ARGV[1])

local settled = redis.call('GET', shards)
if settled then return tonumber(settled) end
-- One shard is not written down: there were none when the first namespaces were used.
if count == 1 or redis.call('EXISTS', events, parked) > 0 then return 1 end
redis.call('SET', shards, digits(count))
return count
