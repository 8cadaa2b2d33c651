"""Messages that are wrong in one place: every field, with values of every type that JSON and kombu have."""

import base64
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from celery_dtimer.message import VERSION

#: Values of wrong types, by a name for tables.
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "one": 1,
    "minus": -1,
    "fraction": 1.5,
    "huge": 10**40,
    "nan": float("nan"),
    "infinity": float("inf"),
    "empty text": "",
    "text": "x",
    "line": 'x\n[2030-01-01 00:00:00: CRITICAL/MainProcess] forged \x1b[31m"%s %(id)s {0}',
    "surrogate": "\ud800",
    "long": "x" * 20_000,
    "list": ["x"],
    "lists": [["x"], ["y"]],
    "empty list": [],
    "object": {"a": 1},
    "empty object": {},
    "datetime": {"__type__": "datetime", "__value__": "2026-01-01T00:00:00"},
    "bytes": {"__type__": "bytes", "__value__": "eA=="},
}

HEADERS = (
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "timelimit",
    "retries",
    "group",
    "group_index",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
    "lang",
    "compression",
    "dtimer",
    "args",
    "delivery_info",
    "hostname",
)
#: What is wrong in a way of its own.
SPECIAL = {
    "timelimit": ([1], [1, 2, 3], ["a", -1], [None, "x"], [-1, -1], [float("nan"), None], [[], {}], [10**40, 10**40]),
    "stamped_headers": ([5], [["x"]], [{}], "xy", {"x": 1}),
    "stamps": ({"x": 5}, {"x": {"y": []}}),
    "eta": ("2030-13-45", "0001-01-01T00:00:00"),
    "expires": ("0001-01-01T00:00:00", "9999-12-31T23:59:59", "2030-13-45"),
}
PROPERTIES = ("correlation_id", "reply_to", "priority", "delivery_mode", "expiration", "delivery_info")
CONTENT_TYPES = ("", "x", "application/x-python-serialize", "application/json; x=1", "\ud800", "text/plain")
ENCODINGS = ("", "x", "binary", "utf-16", "\ud800")
BODIES: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "number": b"5",
    "text": b'"abc"',
    "object": b"{}",
    "empty list": b"[]",
    "two": b"[[], {}]",
    "four": b"[[], {}, {}, {}]",
    "kwargs list": b"[[], [], {}]",
    "args null": b"[null, {}, {}]",
    "args object": b'[{"a": 1}, {}, {}]',
    "kwargs null": b"[[], null, {}]",
    "embed number": b"[[], {}, 5]",
    "embed list": b"[[], {}, [1]]",
    "embed parts": b'[[], {}, {"callbacks": 5, "errbacks": {}, "chain": "x", "chord": 7}]',
    "embed task": b'[[], {}, {"task": ["x"], "id": ["x"], "delivery_info": 5, "hostname": {}}]',
    "half": b'[[], {}, {"a',
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "protocol 1": b'{"task": "att.victim", "id": "x", "args": [], "kwargs": {}}',
    "protocol 1 list": b'{"task": ["x"], "id": ["x"], "args": 5, "kwargs": 7}',
    "protocol 1 ids": b'{"task": "att.victim", "id": ["x"], "args": [], "kwargs": {}}',
}


@dataclass
class Message:
    """One message, wrong in the place that its name says."""

    name: str
    headers: dict[str, Any]
    properties: dict[str, Any] = field(default_factory=dict)
    content_type: Any = "application/json"
    encoding: Any = "utf-8"
    body: bytes = b"[[], {}, {}]"

    def envelope(self) -> bytes:
        """As kombu's Redis transport stores it in a list."""
        tag = str(uuid.uuid4())
        properties = {
            "correlation_id": tag,
            "reply_to": "x",
            "delivery_mode": 2,
            "priority": 0,
            **self.properties,
            "body_encoding": "base64",
            "delivery_tag": tag,
        }
        properties.setdefault("delivery_info", {"exchange": "", "routing_key": "celery"})
        return json.dumps(
            {
                "body": base64.b64encode(self.body).decode(),
                "content-type": self.content_type,
                "content-encoding": self.encoding,
                "headers": self.headers,
                "properties": properties,
            }
        ).encode()

    def payload(self) -> bytes:
        """As the timer stores it."""
        line = {"h": self.headers, "p": self.properties, "t": self.content_type, "e": self.encoding}
        return VERSION + json.dumps(line).encode() + b"\n" + self.body


def right_headers(task: str) -> dict[str, Any]:
    """Headers as Celery makes them."""
    task_id = str(uuid.uuid4())
    return {
        "lang": "py",
        "task": task,
        "id": task_id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": task_id,
        "parent_id": None,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": "gen1@x",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }


def messages(task: str = "att.victim") -> list[Message]:
    """All of them, each once."""
    made = []
    for name in HEADERS:
        values = {**VALUES, **{json.dumps(value)[:30]: value for value in SPECIAL.get(name, ())}}
        for of, value in values.items():
            made.append(Message(f"header {name} = {of}", {**right_headers(task), name: value}))
        if name in ("task", "id"):
            made.append(Message(f"header {name} missing", {k: v for k, v in right_headers(task).items() if k != name}))
    stamped = {**right_headers(task), "stamped_headers": ["x"], "stamps": 5}
    made.append(Message("headers stamped_headers without stamps", stamped))
    for name in PROPERTIES:
        made += [Message(f"property {name} = {of}", right_headers(task), {name: value}) for of, value in VALUES.items()]
    made += [Message(f"content type {of!a}", right_headers(task), content_type=of) for of in CONTENT_TYPES]
    made += [Message(f"encoding {of!a}", right_headers(task), encoding=of) for of in ENCODINGS]
    for of, body in BODIES.items():
        made.append(Message(f"body {of}", right_headers(task), body=body))
        made.append(Message(f"body {of}, no headers", {}, body=body))
    return made


#: What only the timer stores.
PAYLOADS: dict[str, bytes] = {
    "nothing": b"",
    "no version": b"{}",
    "no line": b"1",
    "no object": b"1[]\n",
    "headers null": b'1{"h":null,"p":{}}\n',
    "properties list": b'1{"h":{},"p":[]}\n',
    "exchange 5": b'1{"h":{"task":"att.victim"},"p":{},"x":5}\n[[],{},{}]',
    "routing key {}": b'1{"h":{"task":"att.victim"},"p":{},"r":{}}\n[[],{},{}]',
    "no deflate": b"2\x01\x02",
    "deep": b"1" + b"[" * 100_000 + b"\n",
    "no json": b"1\xff\xfe\n",
}
