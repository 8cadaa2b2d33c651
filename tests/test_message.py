"""A Celery message as bytes, and back: exactly, small, and never by accident."""

import hashlib
import json
import string
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from celery_dtimer import message
from celery_dtimer.message import (
    COMPRESS_UP_TO,
    DICTIONARY,
    HEADER_DEFAULTS,
    PROPERTY_DEFAULTS,
    StoredMessage,
    UnknownFormatError,
    decode,
    encode,
)

#: What JSON gives back as it was; equal and different values of several types among them.
scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 0.0, 1, 1.0, 2, 2.0, "", "0", "py", "()", "{}"])
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
names = st.sampled_from(["mine", "", "ü", "h", "p"]) | st.text(string.ascii_letters, min_size=1)
#: What the reader of compressed messages must know and read for ever.
DICTIONARY_DIGEST = "622d078cf588fad00cbc91a8ce1d9c9b3827988d70003d9a9fb9e47dcb984e53"
FIRST_COMPRESSED = bytes.fromhex("3243f54a624a0a9a370c81bec0e2b62288cb0c410e03b9a4361600")

ids = st.sampled_from(["id", "same", "ü", "a\nb", '"'])


def deflated(content):
    compressor = zlib.compressobj(wbits=-12, memLevel=4, zdict=DICTIONARY)
    return b"2" + compressor.compress(content) + compressor.flush()


@st.composite
def protocol_2(draw):
    """Headers as Celery makes them: all that there are defaults for, with any values, and some of the user's."""
    headers = draw(st.dictionaries(names, values, max_size=3))
    changed = draw(st.dictionaries(st.sampled_from(list(HEADER_DEFAULTS)), values, max_size=4))
    return {**headers, **HEADER_DEFAULTS, **changed} | {
        "task": draw(st.text(min_size=1)),
        "id": draw(ids),
        "root_id": draw(st.none() | ids),
    }


protocol_1 = st.dictionaries(names | st.sampled_from(["id", "retries", "compression"]), values, max_size=4)


@st.composite
def properties_of(draw):
    """Properties: the ones that kombu always sets, and others."""
    properties = draw(st.dictionaries(names, values, max_size=3))
    properties |= {name: draw(st.just(default) | scalars) for name, default in PROPERTY_DEFAULTS.items()}
    return properties | {"correlation_id": draw(ids)}


messages = st.builds(
    StoredMessage,
    body=st.binary() | st.sampled_from([b"", b"\n", b"\n\n{}", b"[[],{},{}]"]),
    content_type=st.sampled_from(["application/json", "application/x-python-serialize", "", "ü"]),
    content_encoding=st.sampled_from(["utf-8", "binary", ""]),
    headers=protocol_2() | protocol_1,
    properties=properties_of(),
    exchange=st.sampled_from(["", "x", "ü"]),
    routing_key=st.sampled_from(["", "queue", "a.b", "ü"]),
)


def exactly(value):
    """A value with the types of all that it is made of: 0, 0.0 and False are three."""
    if isinstance(value, dict):
        return {key: exactly(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [exactly(inner) for inner in value]
    return type(value), repr(value)


@settings(max_examples=120, deadline=None)
@given(messages, ids, st.sampled_from(["queue", "ü", "a.b"]), st.booleans())
@example(StoredMessage(b"", "t", "e", {"task": "t", "retries": False}, {"priority": False}), "id", "queue", False)
@example(StoredMessage(b"", "t", "e", {"task": "t", "timelimit": [None, 0]}, {"priority": 0.0}), "id", "queue", False)
@example(StoredMessage(b"", "t", "e", {"task": "t", "group_index": 0}, {"delivery_mode": 2.0}), "id", "queue", True)
def test_a_message_comes_back_exactly(stored, event_id, queue, compress):
    # The three examples are no whole Celery messages: what they lack, the defaults fill.
    if "task" in stored.headers:
        defaults = {**HEADER_DEFAULTS, "id": event_id, "root_id": event_id}
        stored = StoredMessage(**{**vars(stored), "headers": {**defaults, **stored.headers}})
    filled = {**PROPERTY_DEFAULTS, "correlation_id": event_id, **stored.properties}
    stored = StoredMessage(**{**vars(stored), "properties": filled})

    back = decode(encode(stored, event_id, queue, compress=compress), event_id, queue)
    assert back == stored
    assert exactly(back.headers) == exactly(stored.headers)
    assert exactly(back.properties) == exactly(stored.properties)
    assert type(back.body) is bytes


def test_headers_of_protocol_1_get_no_defaults():
    stored = StoredMessage(b"{}", "application/json", "utf-8", {}, {"correlation_id": "id"})
    assert decode(encode(stored, "id", "queue"), "id", "queue").headers == {}


def test_kombus_own_types_in_headers_come_back_as_kombu_would_give_them():
    from datetime import UTC, datetime
    from decimal import Decimal
    from uuid import UUID

    headers = {
        "task": "t",
        "at": datetime(2030, 1, 1, tzinfo=UTC),
        "uuid": UUID(int=5),
        "price": Decimal("1.50"),
        "bytes": b"\xff\x00",
    }
    stored = StoredMessage(b"", "application/json", "utf-8", headers)
    back = decode(encode(stored, "id", "queue"), "id", "queue")
    assert {name: back.headers[name] for name in headers} == headers


def test_what_is_stored_does_not_depend_on_the_defaults_of_a_later_version(monkeypatch):
    """Headers are left out only if they are the defaults, and the reader's are the writer's as long as VERSION is."""
    assert message.VERSION == b"1"
    assert HEADER_DEFAULTS == {
        "lang": "py",
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "parent_id": None,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    assert PROPERTY_DEFAULTS == {"delivery_mode": 2, "priority": 0}
    first_release = b'1{"h":{"task":"add","argsrepr":"(1,)"},"p":{"reply_to":"r"}}\n[[1], {}, {}]'
    assert decode(first_release, "id", "queue") == StoredMessage(
        body=b"[[1], {}, {}]",
        content_type="application/json",
        content_encoding="utf-8",
        headers={**HEADER_DEFAULTS, "task": "add", "argsrepr": "(1,)", "id": "id", "root_id": "id"},
        properties={"delivery_mode": 2, "priority": 0, "correlation_id": "id", "reply_to": "r"},
        exchange="",
        routing_key="queue",
    )


@pytest.mark.parametrize("version", [b"0", b"3", b"\x00", b"{", b" ", b"\xff", b""])
def test_an_unknown_version_is_an_unknown_format_that_names_it(version):
    with pytest.raises(UnknownFormatError) as caught:
        decode(version + b'{"h":{},"p":{}}\n', "id", "queue")
    assert repr(version or b"{") in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_nothing_at_all_is_an_unknown_format():
    with pytest.raises(UnknownFormatError):
        decode(b"", "id", "queue")


@settings(max_examples=150, deadline=None)
@given(
    st.binary()
    | st.binary().map(b"1".__add__)
    | st.binary().map(b"2".__add__)
    | st.binary().map(deflated)
    | values.map(lambda value: b"1" + json.dumps(value).encode() + b"\n")
    | st.fixed_dictionaries({"h": values, "p": values}, optional=dict.fromkeys(("t", "e", "x", "r"), values)).map(
        lambda line: b"1" + json.dumps(line).encode() + b"\nbody"
    )
)
@example(b'1{"h":{},"p":{}}')
@example(b'1{"h":{},"p":[]}\n')
@example(b'1{"h":{"__type__":"x","__value__":1},"p":{}}\n')
@example(b'1{"h":{"a":{"__type__":"datetime","__value__":"never"}},"p":{}}\n')
@example(b"1" + b"[" * 100_000 + b"\n")
@example(b'1{"h":{},"p":{},"t":5}\n')
@example(b'1{"h":{},"p":{},"e":null}\n')
@example(b'1{"h":{},"p":{},"x":[]}\n')
@example(b'1{"h":{},"p":{},"r":{}}\n')
def test_garbage_is_an_unknown_format_or_a_message_and_nothing_else(payload):
    try:
        stored = decode(payload, "id", "queue")
    except UnknownFormatError:
        return
    assert type(stored.body) is bytes
    for text in (stored.content_type, stored.content_encoding, stored.exchange, stored.routing_key):
        assert type(text) is str
    assert type(stored.headers) is dict
    assert type(stored.properties) is dict


def plain(body):
    return StoredMessage(body, "application/json", "utf-8", {"task": "t"})


def test_what_is_compressed_is_read_as_long_as_its_version_is():
    assert message.COMPRESSED == b"2"
    assert hashlib.sha256(DICTIONARY).hexdigest() == DICTIONARY_DIGEST
    assert decode(FIRST_COMPRESSED, "id", "queue") == decode(
        b'1{"h":{"task":"add","argsrepr":"(1,)"},"p":{"reply_to":"r"}}\n[[1], {}, {}]', "id", "queue"
    )


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (b"x" * 200, b"2"),
        (b"x" * (COMPRESS_UP_TO - 100), b"2"),
        (b"x" * COMPRESS_UP_TO, b"1"),
        (bytes(range(256)) * 10, b"2"),
        (hashlib.shake_256(b"noise").digest(10_000), b"1"),
    ],
    ids=["short", "largest", "too large", "repeated", "noise"],
)
def test_a_message_is_compressed_up_to_a_size_and_if_that_makes_it_smaller(body, version):
    payload = encode(plain(body), "id", "queue")
    assert payload[:1] == version
    assert len(payload) <= len(encode(plain(body), "id", "queue", compress=False))
    assert decode(payload, "id", "queue").body == body
    assert encode(plain(body), "id", "queue", compress=False)[:1] == b"1"


def test_a_compressed_message_that_is_cut_off_or_too_long_or_goes_on_is_an_unknown_format():
    payload = encode(plain(b"body" * 100), "id", "queue")
    for end in range(1, len(payload)):
        with pytest.raises(UnknownFormatError):
            decode(payload[:end], "id", "queue")
    line = b'{"h":{},"p":{}}\n'
    assert decode(deflated(line + b"x" * (COMPRESS_UP_TO - len(line))), "id", "queue").body
    for wrong in (payload + b"x", deflated(line + b"x" * COMPRESS_UP_TO), deflated(line + b"\0" * 10**8)):
        with pytest.raises(UnknownFormatError):
            decode(wrong, "id", "queue")


def test_a_truncated_message_is_no_shorter_message_unless_its_head_is_whole():
    payload = encode(StoredMessage(b"body", "application/json", "utf-8", {"task": "t"}), "id", "queue", compress=False)
    head = payload.index(b"\n") + 1
    for end in range(head):
        with pytest.raises(UnknownFormatError):
            decode(payload[:end], "id", "queue")


def test_a_plain_message_with_one_argument_takes_less_than_450_bytes(make_app, redis_url):
    app = make_app(dtimer_url=redis_url)

    @app.task(name="shop.tasks.remind")
    def remind(order_id):
        pass

    result = remind.post_in(60, 12345)
    assert len(result.peek().payload) < 450
    assert result.cancel()


def test_decoded_messages_share_nothing_that_can_be_changed():
    payload = encode(StoredMessage(b"", "application/json", "utf-8", {"task": "t"}), "id", "queue")
    first = decode(payload, "id", "queue")
    first.headers["timelimit"][0] = 5
    first.headers["stamps"]["mine"] = 1
    first.headers["mine"] = 1
    first.properties["priority"] = 9
    second = decode(payload, "id", "queue")
    assert second.headers == {**HEADER_DEFAULTS, "task": "t", "id": "id", "root_id": "id"}
    assert second.headers["timelimit"] == [None, None]
    assert second.headers["stamps"] == {}
    assert second.properties["priority"] == 0


def test_encoding_changes_nothing_of_the_message():
    headers = {"task": "t", "id": "id", "stamps": {}}
    properties = {"correlation_id": "id", "priority": 0}
    stored = StoredMessage(b"", "application/json", "utf-8", headers, properties)
    encode(stored, "id", "queue")
    assert headers == {"task": "t", "id": "id", "stamps": {}}
    assert properties == {"correlation_id": "id", "priority": 0}
