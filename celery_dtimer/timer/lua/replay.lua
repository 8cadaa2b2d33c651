-- replay: make a parked event pending again, with its redeliveries at zero.
--
-- KEYS[1] events          hash    id -> event record, or a pointer to its lease
-- KEYS[2] parked          hash    id -> parked record
-- KEYS[3] promise         hash    queue -> promise
-- ARGV[1] prefix          string  what the names of this shard's keys begin with (see cancel)
-- ARGV[2] id              string
-- ARGV[3] delay_ms        ms      due so long from now
-- reply: the new due_ms; -1 nothing is parked under this id; -2 an event of this id is pending or leased
-- cost: O(log N)

local events = KEYS[1]
local parked = KEYS[2]
local promise = KEYS[3]
local prefix = ARGV[1]
local id = ARGV[2]
local delay_ms = tonumber(ARGV[3])

even_when_full(parked)
local kept = redis.call('HGET', parked, id)
if not kept then return -1 end
if redis.call('HEXISTS', events, id) == 1 then return -2 end
local record = cmsgpack.unpack(kept)[5]
local queue = unpack_event(record).queue
local due_ms = ceil_ms(now_us()) + delay_ms
redis.call('HDEL', parked, id)
redis.call('HSET', events, id, record)
redis.call('ZADD', prefix .. 'due:' .. queue, digits(due_ms), id)
announce(promise, prefix .. 'wake:' .. queue, queue, due_ms)
return due_ms
