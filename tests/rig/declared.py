"""Runs every script behind a guard that fails it when it touches a key that its caller did not name.

Some servers lock by the keys that a call names, and refuse the rest; a plain Redis does not mind.
"""

from celery_dtimer.timer.storing import scripts

GUARD = """
local named = {}
for _, key in ipairs(KEYS) do named[key] = true end
local function guarded(call)
  return function(command, ...)
    local keys = { ... }
    if command == 'TIME' then keys = {} end
    for i, key in ipairs(keys) do
      if i > 1 and command ~= 'EXISTS' and command ~= 'DEL' then break end
      if not named[key] then error('UNNAMED ' .. command .. ' on a key that the caller did not name: ' .. key) end
    end
    return call(command, ...)
  end
end
local redis = { call = guarded(redis.call), pcall = guarded(redis.pcall), error_reply = redis.error_reply }
"""

read = scripts.read


def guarded(name: str) -> str:
    """The text of a script's file; what stands in front, and the shared one, behind the guard."""
    in_front = {part for parts in scripts.AHEAD.values() for part in parts}
    return GUARD + read(name) if name == "common" or name in in_front else read(name)


def install() -> None:
    """Put the guard in front of every script of this process, once."""
    if scripts.read.__name__ != "guarded":
        scripts.read = guarded
        scripts.load.cache_clear()
