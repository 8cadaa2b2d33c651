-- bucket: put in front of claim by scripts.py, behind common. How much of what is long overdue may be claimed now.
--
--   bucket       string  'spent_us sharers until_ms': the rate's events are spent up to spent_us; so many shards, as a
--                        listener counted them, share the rate until then at least. There while this shard has
--                        something overdue, and for some seconds after

-- The limit in force, or nil: the stored one, or else the listener's own. Its functions and constants are made here and
-- nowhere else, since each function of a script, and each name that it takes from outside, costs every call.
local function limit_of(stored, own, us)
  -- So long the largest known number of shards counts, which a listener that knows less does not undo: two shards that
  -- both took the whole rate would exceed it. And so much of the rate is kept at most, for listeners that come late.
  local SHARED_MS, KEPT_US = 5000, 500000
  -- Listeners come back for several events at once, and not all at the same instant: those of one queue would take
  -- everything from those of another.
  local PAUSE_US, SPREAD_US = 25000, 50000

  local rate, after_ms, sharers = string.match(own, '^(%d+) (%d+) (%d+)$')
  rate, after_ms, sharers = tonumber(rate), tonumber(after_ms), tonumber(sharers)
  if stored then
    local stored_rate, stored_after_ms = string.match(stored, '^(%d+) (%d+)$')
    rate, after_ms = tonumber(stored_rate) or rate, tonumber(stored_after_ms) or after_ms
  end
  if rate == 0 then return nil end
  local now_ms = math.floor(us / 1000)
  local value = redis.call('GET', bucket)
  local spent_us, known, until_ms = string.match(value or '', '^(%d+%.%d+) (%d+) (%d+)$')
  known, until_ms = tonumber(known) or 0, tonumber(until_ms) or 0
  if known <= sharers or until_ms <= now_ms or until_ms > now_ms + SHARED_MS then
    known, until_ms = sharers, now_ms + SHARED_MS
  end
  -- Of the rate, which is in events per 1,000 s, one event is so long.
  local event_us = known * 1e9 / rate
  -- A clock that was set back does not stop it, and what was not claimed is not made up for.
  spent_us = math.max(math.min(tonumber(spent_us) or us, us), us - math.max(KEPT_US, event_us))
  local limit = { cut_ms = now_ms - after_ms, met = value ~= false }

  -- Events that may be claimed of what is overdue.
  function limit.tokens() return math.floor((us - spent_us) / event_us + 1e-6) end

  function limit.spend(count) spent_us = spent_us + count * event_us end

  -- When a listener comes back for more.
  function limit.refilled_ms()
    return math.ceil((math.max(spent_us + event_us, us + PAUSE_US) + us % SPREAD_US) / 1000)
  end

  function limit.keep()
    redis.call('SET', bucket, string.format('%.3f %.0f %.0f', spent_us, known, until_ms),
      'PX', string.format('%.0f', math.max(SHARED_MS, math.ceil(event_us / 500))))
  end

  return limit
end
