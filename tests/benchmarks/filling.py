"""Fills a server with millions of pending events in a minute: one is posted, and a script copies its record.

A record names neither its event's id nor its instant, so that a copy is what a post would have stored.
"""

import time
from datetime import timedelta
from typing import Any

from celery_dtimer import DTimer

YEAR_MS = 365 * 86_400_000
DAY_MS = 86_400_000

#: Events that one call of the script makes: a tenth of a second of Redis' time.
A_CALL = 20_000

#: Ids are as long as others: Redis hashes them all the same. Instants ascend: to insert at the end is quick, and
#: the result is that of any other order.
COPY = """
local record, first, count, from_ms, step_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local records, instants = {}, {}
for number = first, first + count - 1 do
  local id = string.format('00000000-0000-4000-8000-%012d', number)
  local n = #records
  records[n + 1], records[n + 2] = id, record
  instants[n + 1], instants[n + 2] = string.format('%.0f', from_ms + math.floor(number * step_ms)), id
  if n > 2000 or number == first + count - 1 then
    redis.call('HSET', KEYS[1], unpack(records))
    redis.call('ZADD', KEYS[2], unpack(instants))
    records, instants = {}, {}
  end
end
return redis.status_reply('OK')
"""


class Filling:
    """A timer's server that is filled further and further, up to ``most`` events that are due within a year.

    Args:
        timer: The timer; nothing is stored yet.
        client: A client of its server, with more patience than the timer's.
        payload: The payload of all events.
        most: The number of events in the end, over which their instants are spread.
    """

    def __init__(self, timer: DTimer, client: Any, payload: bytes, most: int) -> None:
        self._timer, self.count, self._step_ms = timer, 0, YEAR_MS / most
        # Due before all copies: the promise that it leaves is right for them too.
        model = timer.post(payload, timedelta(hours=1))
        keys = timer.shards[0].keys
        self._keys = (keys.events, keys.due("default"))
        self._record = client.hget(keys.events, model)
        self._from_ms = int(time.time() * 1000) + DAY_MS
        self._copy = client.register_script(COPY)

    def fill_up_to(self, count: int) -> None:
        """Make events until there are so many copies, and try some of the new ones: of others, some are cancelled."""
        first = self.count
        while self.count < count:
            portion = min(A_CALL, count - self.count)
            self._copy(self._keys, (self._record, self.count, portion, self._from_ms, repr(self._step_ms)))
            self.count += portion
        assert self._timer.count().pending == count + 1
        for number in (first, (first + count) // 2, count - 1):
            found = self._timer.peek(id_of(number))
            assert found is not None
            assert found.state == "pending"


def id_of(number: int) -> str:
    """The id of the event with that number."""
    return f"00000000-0000-4000-8000-{number:012}"
