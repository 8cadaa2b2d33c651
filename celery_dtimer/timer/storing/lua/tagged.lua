-- tagged: a page of what has a tag, in the order of the ids. Changes nothing, but that the index forgets what is gone.
--
-- KEYS events, leased, taken, deliveries, parked, parked_ids, tags; due, lease, wake of each queue
-- ARGV[1] tag             string
-- ARGV[2] after           string  ids behind this one; '' = from the first
-- ARGV[3] most            count   look at so many ids at most
-- ARGV[4] most_bytes      count   look at no more once their records have so many bytes
-- ARGV[5] what            string  which of it: waits; live: what waits or is leased; parked; any
-- ARGV[6] payloads        count   1 = with their payloads
-- ARGV[7] offset_ms       ms      what waits: due from this much after now; '' = from the first
-- ARGV[8] duration_ms     ms      for so long; '' = without an end
-- reply: [id, rows]: the last id that was looked at, '' = there are no more; an array of [state, key, queue, due_ms,
--        parked_ms, reason, redeliveries, max_redeliveries, kind, tags, payload or '']; of an id, what was posted last,
--        if it has the tag, and all that is parked and has it
-- cost: O(most * log N), whatever else there is

local tag = ARGV[1]
local after = ARGV[2]
local most = tonumber(ARGV[3])
local most_bytes = tonumber(ARGV[4])
local what = ARGV[5]
local payloads = tonumber(ARGV[6])
local offset_ms = ARGV[7]
local duration_ms = ARGV[8]

local found = redis.call('ZRANGE', tags, '(' .. tag .. '\255' .. after, '(' .. tag .. '\255\255', 'BYLEX', 'LIMIT', 0, most)
local rows, bytes, last = {}, 0, ''
local first_ms, past_ms = -2 ^ 53, 2 ^ 53
if offset_ms ~= '' then first_ms = floor_ms(now_us()) + tonumber(offset_ms) end
if duration_ms ~= '' then past_ms = floor_ms(now_us()) + (tonumber(offset_ms) or 0) + tonumber(duration_ms) end

local function row(state, key, event, due_ms, parked_ms, reason, redeliveries)
  rows[#rows + 1] = { state, key, event.queue, due_ms, parked_ms, reason, redeliveries, event.max_redeliveries,
                      event.kind, event.tags, payloads == 1 and event.payload or '' }
end

-- What is not asked for is not gone, either.
local function look_at_live(id)
  local at = newest_of(id, redis.call('HGET', events, id))
  if not at.queue or not (at.waits or what ~= 'waits') then return end
  local event = event_of(at)
  bytes = bytes + (event and #event.payload or 0)
  if not has_tag(event, tag) then return end
  need(at.queue)
  if #missing > 0 then return end
  local due_ms = at.waits and score_of(places[at.queue].due, at.member) or at.held.due_ms
  if at.waits and (due_ms < first_ms or due_ms > past_ms) then return end
  row(at.waits and 'pending' or 'leased', at.member, event, due_ms, 0, '', at.held and at.held.redeliveries or 0)
end

local function look_at_parked(id)
  for _, key in ipairs(keys_of(parked_ids, id, MOST_LOOKED_AT)) do
    local value = redis.call('HGET', parked, key)
    local fields = value and fields_of(value, 'string', 'number', 'number', 'number', 'string', 'number')
    local event = fields and unpack_event(redis.call('HGET', taken, key))
    bytes = bytes + (event and #event.payload or 0)
    if has_tag(event, tag) then row('parked', key, event, fields[4], fields[2], fields[1], fields[3]) end
  end
end

local looked = 0
for _, member in ipairs(found) do
  if bytes >= most_bytes then break end
  local id = string.sub(member, #tag + 2)
  local before = #rows
  if what ~= 'parked' then look_at_live(id) end
  if what == 'parked' or what == 'any' then look_at_parked(id) end
  if #rows == before and #missing == 0 and not tags_of(id, tag)[tag] then redis.pcall('ZREM', tags, member) end
  looked, last = looked + 1, id
end
if #missing > 0 then return asked_back() end
if looked == #found and #found < most then last = '' end
return { last, rows }
