"""Every page of the console: what it shows, and what it answers to bad input."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from browser import Browser, text_of

from celery_dtimer.web import console
from celery_dtimer.web.showing import event_path

FAR = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_first_page_counts_and_draws_what_comes_due(reader, remind):
    for number in range(3):
        remind.post((number,), delay=100 + number, queue="mail")
    remind.post((1,), delay=1800)
    remind.post((1,), eta=datetime(2026, 1, 1, tzinfo=UTC))
    page = reader.get("/").text
    said = text_of(page)
    assert "4 events come due in the next hour" in said
    assert re.search(r"Pending 5 Due now 1 Overdue 1 for \d+ d", said)
    assert page.count("<rect class=") >= 2
    assert 'role="img"' in page
    assert page.count('<li><a href="/events?from=') == 60
    assert "No worker with a timer answers." in said
    assert "The soonest 5 of 5 pending events" in said
    assert "mail 3" in said
    assert "2 events come due in the next hour" not in said
    for name, bars in (("day", 48), ("month", 30)):
        assert reader.get(f"/?range={name}").text.count('<li><a href="/events?from=') == bars


def test_each_bar_leads_to_the_list_of_its_span(reader, remind):
    result = remind.post((1,), delay=630)
    remind.post((1,), delay=1900)
    page = reader.get("/").text
    [bar] = [re.search(r'href="([^"]*)"', link)[1] for link in re.findall(r"<a [^>]*data-count=\"1\"", page)][:1]
    found = reader.get(bar.replace("&amp;", "&")).text
    assert result.id in found
    assert "1 pending" in text_of(found)


def test_an_empty_timer_is_calm(reader):
    said = text_of(reader.get("/").text)
    assert "0 events come due in the next hour" in said
    assert "Nothing waits. Post a task, and it stands here until it is due." in said
    assert "Nothing is parked." in text_of(reader.get("/events?state=parked").text)
    assert "Nothing is leased." in text_of(reader.get("/events?state=leased").text)
    assert "Nothing is held." in text_of(reader.get("/holds").text)


def test_events_are_found_by_task_queue_time_state_and_id(reader, remind, app, park, lease):
    soon = remind.post((1,), delay=60, queue="mail")
    later = app.tasks["shop.report"].post((2,), eta=FAR)
    said = reader.get("/events").text
    assert said.index(soon.id) < said.index(later.id)
    for query, found in (
        ("task=shop.report", later),
        ("queue=mail", soon),
        ("to=2099-01-01T00:00", soon),
        ("from=2099-01-01T00:00:00Z", later),
    ):
        page = reader.get(f"/events?{query}").text
        assert found.id in page
        assert ({soon.id, later.id} - {found.id}).pop() not in page
    assert reader.get(f"/events?id={soon.id}").url.path == f"/events/{soon.id}"
    parked = remind.post((3,), delay=0)
    park(parked)
    held = remind.post((4,), delay=0)
    lease()
    assert parked.id in reader.get("/events?state=parked&reason=gateway&task=shop.remind").text
    assert parked.id not in reader.get("/events?state=parked&reason=other").text
    page = reader.get("/events?state=leased").text
    assert held.id in page
    assert "amber@shop" in page
    assert held.id not in reader.get("/events?state=leased&queue=mail").text


def test_pages_follow_each_other_by_cursor(reader, remind, park):
    ids = [remind.post((number,), delay=1000 + number).id for number in range(55)]
    first = reader.get("/events").text
    assert "1 to 50 of 55 pending" in text_of(first)
    assert ids[49] in first
    assert ids[50] not in first
    second = reader.get("/events?after=50").text
    assert "51 to 55 of 55 pending" in text_of(second)
    assert "Next page" not in second
    assert "Back to the first page" in text_of(reader.get("/events?after=100").text)
    by_task = reader.get("/events?task=shop.remind").text
    assert "50 were looked at" in text_of(by_task)
    assert 'after=50"' in by_task


def test_one_event_says_all_that_is_stored_of_it(reader, remind, park, lease):
    result = remind.post(("one",), {"two": 3}, eta=FAR)
    said = text_of(reader.get(f"/events/{result.id}").text)
    for part in (
        "shop.remind pending",
        result.id,
        "2100-01-02 03:04:05 UTC",
        "('one',)",
        "{'two': 3}",
        "Posted by gen",
    ):
        assert part in said
    said = text_of(reader.get(f"/events/{result.id}?payload=1").text)
    assert '"two": 3' in said
    parked = remind.post((), delay=0)
    park(parked)
    said = text_of(reader.get(f"/events/{parked.id}").text)
    assert "Delivered 1 time, last to h Parked" in said
    assert "no <b>gateway</b>" in said
    held = remind.post((), delay=0)
    lease()
    assert "Held by amber@shop" in text_of(reader.get(f"/events/{held.id}").text)


def test_a_pickled_payload_is_not_opened(reader, app, remind):
    app.conf.update(accept_content=["pickle", "json"])
    result = remind.post((1,), delay=600, serializer="pickle")
    said = text_of(reader.get(f"/events/{result.id}?payload=1").text)
    assert "application/x-python-serialize, and is not decoded here: that might run code." in said


@pytest.mark.parametrize("event_id", ["a/b", "..", ".", "<i>&\"'?#%2F", "ü\u202e", "x" * 200])
def test_an_event_of_any_id_has_a_page(reader, remind, event_id):
    remind.post((), delay=600, task_id=event_id)
    assert reader.get(event_path(event_id)).status_code == 200
    path = event_path(event_id).replace("&", "&amp;").replace("'", "&#39;").replace('"', "&#34;")
    assert f'href="{path}"' in reader.get("/events").text


def test_the_state_in_the_result_backend_is_shown(make_app, redis_url, redis_server, reader, app, remind):
    result = remind.post((), delay=600)
    assert "no result backend" in text_of(reader.get(f"/events/{result.id}").text)
    app.conf.result_backend = redis_server.url_of(2)
    app._backend_cache = None
    app._local = type(app._local)()
    assert "Result PENDING" in text_of(reader.get(f"/events/{result.id}").text)


def test_health_shows_findings_with_remedies(reader, remind):
    remind.post((), eta=datetime.now(UTC) - timedelta(hours=1))
    said = text_of(reader.get("/health").text)
    assert "overdue by more than 10 s" in said
    assert "Remedy:" in said


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/events/unknown", 404, "it has run, was cancelled, or was never posted"),
        ("/nothing", 404, "No such page"),
        ("/?range=week", 400, "range must be one of hour, day, month, got 'week'"),
        ("/live?range=week", 400, "range must be one of"),
        ("/events?state=gone", 400, "state must be one of pending, leased, parked, got 'gone'"),
        ("/events?after=-1", 400, "after must be a whole number"),
        ("/events?after=99999999999999999", 400, "after must be a whole number"),
        ("/events?after=9999999999999999", 400, "skip must be a whole number"),
        ("/events?state=leased&after=10001", 400, "skip must be a whole number"),
        ("/events?state=parked&after=x", 400, "after must be the cursor"),
        ("/events?from=yesterday", 400, "from must be a datetime or ISO 8601 text, got 'yesterday'"),
        ("/events?to=99999-01-01", 400, "to must be"),
        ("/events?queue=" + "q" * 300, 400, "queue must be a string of 1 to 255 bytes"),
        ("/events/" + "x" * 201, 400, "id must be a string of 1 to 200 bytes"),
        ("/event", 400, "id must be a string of 1 to 200 bytes"),
        ("/static/../console.py", 404, "No such page"),
        ("/static/%2e%2e/console.py", 404, ""),
    ],
)
def test_bad_input_gets_a_page_that_says_what_is_wrong(reader, path, status, said):
    answer = reader.get(path)
    assert answer.status_code == status
    assert said in text_of(answer.text)
    assert len(answer.text) < 4000


def _task(*args, **kwargs):
    pass


def test_what_others_wrote_is_text_and_not_endless(reader, app, timer):
    evil = app.task(name="<script>alert(1)</script>\x1b[31m")(_task)
    big = "\u202e</td>" + "x" * 200_000
    result = evil.post(
        (1,), delay=600, task_id="<b>\x1b[0m", queue="<q>", argsrepr=big, kwargsrepr="<img src=x onerror=alert(1)>"
    )
    for path in ("/", "/events", event_path(result.id), "/events?queue=%3Cq%3E"):
        answer = reader.get(path)
        assert answer.status_code == 200
        assert len(answer.text) < 80_000
        for raw in ("<script>alert", "<b>\x1b", "<img src=x", "<q>", "\x1b", "\u202e"):
            assert raw not in answer.text


def test_arguments_are_masked_by_names_or_by_a_callable(make_app, app, redis_url, remind):
    result = remind.post(("secret",), delay=600)
    app.conf.dtimer_web_mask = ["shop.rem*"]
    browser = Browser(console(app))
    pages = ["/", "/events", f"/events/{result.id}", f"/events/{result.id}?payload=1"]
    assert not any("secret" in browser.get(path).text for path in pages)
    app.conf.dtimer_web_mask = lambda task, args, kwargs: (args.replace("secret", "***"), kwargs)
    assert not any("secret" in browser.get(path).text for path in pages)
    assert "***" in browser.get("/events").text
    app.conf.dtimer_web_mask = lambda *_: 1 / 0
    assert not any("secret" in browser.get(path).text for path in pages)
    app.conf.dtimer_web_mask = ["other"]
    assert all("secret" in browser.get(path).text for path in pages)


def test_events_are_found_by_tag_whatever_it_is(reader, remind, app, park, lease, timer):
    tags = ["customer:7", "<b>&/?#"]
    tagged = remind.post((1,), delay=600, tags=tags)
    other = app.tasks["shop.report"].post((2,), delay=600, tags=tags[:1])
    remind.post((3,), delay=600)
    page = reader.get("/events", params={"tag": tags[1]}).text
    assert tagged.id in page
    assert other.id not in page
    assert "<b>" not in page
    page = reader.get("/events", params={"tag": tags[0]}).text
    assert tagged.id in page
    assert other.id in page
    page = reader.get("/events", params={"tag": tags[0], "task": "shop.report"}).text
    assert tagged.id not in page
    assert other.id in page
    assert "/events?tag=customer%3A7" in reader.get(f"/events/{tagged.id}").text
    tagged.run_now()
    lease()
    assert tagged.id in reader.get("/events", params={"state": "leased", "tag": tags[1]}).text
    assert tagged.id not in reader.get("/events", params={"state": "leased", "tag": "none"}).text
    other.run_now()
    park(other)
    assert other.id in reader.get("/events", params={"state": "parked", "tag": tags[0]}).text
    assert other.id not in reader.get("/events", params={"state": "parked", "tag": tags[1]}).text
    assert reader.get("/events", params={"tag": "x" * 500}).status_code == 400
