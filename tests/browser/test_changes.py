"""Changes, as a person makes them: with scripts and without, by mouse and by keyboard; and those that are refused."""

import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from fleet import sign_in
from looks import faults, site, tab_to
from rig.waiting import wait_until

from celery_dtimer import State

HOUR = 3600


@pytest.fixture
def queue():
    """The name of a queue that nobody else posts to, and no worker consumes."""
    return f"own-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def post(fleet, queue):
    """Posts tasks to that queue; what is left of them is cancelled."""
    made = []

    def post(delay=HOUR):
        made.append(fleet.shop.remind.post((len(made),), delay=delay, queue=queue))
        return made[-1]

    yield post
    for result in made:
        result.cancel()


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def page(request, visit, console):
    """A page of the console, signed in."""
    return visit(console, "/health", javascript=request.param)


def open_event(page, console, event_id):
    page.goto(f"{console.origin}/events/{quote(event_id, safe='')}")


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def verdict(page):
    return page.locator(".verdict h1").inner_text()


def test_an_event_is_cancelled(page, console, post):
    result = post()
    open_event(page, console, result.id)
    press(page, "Cancel…")
    press(page, "Cancel 1 event")
    assert verdict(page) == "1 event is cancelled"
    assert result.peek() is None


def test_an_event_is_left_as_it_is(page, console, post):
    result = post()
    open_event(page, console, result.id)
    press(page, "Cancel…")
    page.get_by_role("link", name="Leave as it is").click()
    assert page.locator("h1").inner_text() == "shop.orders.remind"
    assert result.peek().state is State.PENDING


def test_an_event_is_made_due_now(page, console, post):
    result = post()
    open_event(page, console, result.id)
    press(page, "Run now…")
    press(page, "Run now 1 event")
    assert verdict(page) == "1 event is due now"
    assert result.peek().due_at <= datetime.now(UTC) + timedelta(seconds=1)


def test_an_event_is_moved_by_seconds_and_to_an_instant(page, console, post):
    result = post()
    open_event(page, console, result.id)
    press(page, "Move…")
    page.get_by_label("Seconds from now").fill(str(5 * HOUR))
    press(page, "Move 1 event")
    assert verdict(page) == "1 event is moved"
    assert result.peek().due_at > datetime.now(UTC) + timedelta(hours=4)
    page.get_by_role("link", name="Back").click()
    press(page, "Move…")
    page.locator("[name=eta]").fill("2031-05-06T07:08:09")
    press(page, "Move 1 event")
    assert verdict(page) == "1 event is moved"
    assert result.peek().due_at == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_what_was_moved_since_it_was_shown_is_not_cancelled(page, console, post):
    result = post()
    open_event(page, console, result.id)
    press(page, "Cancel…")
    result.change_delay(2 * HOUR)
    press(page, "Cancel 1 event")
    assert verdict(page) == "Nothing was changed"
    assert result.peek().state is State.PENDING


def test_the_chosen_ones_are_cancelled_and_then_all_that_match(page, console, post, queue, fleet):
    results = [post(HOUR + n) for n in range(5)]
    page.goto(f"{console.origin}/events?queue={queue}")
    for result in results[:2]:
        page.get_by_label(f"Choose {result.id}").check()
    press(page, "Cancel…")
    press(page, "Cancel 2 events")
    assert verdict(page) == "2 events are cancelled"
    assert [result.peek() is None for result in results] == [True, True, False, False, False]
    page.get_by_role("link", name="Back").click()
    page.get_by_label("all that match").check()
    press(page, "Cancel…")
    press(page, "Cancel 3 events")
    assert verdict(page) == "3 events are cancelled"
    assert fleet.timer.upcoming(queue=queue) == []


def test_a_verdict_can_be_read_by_everybody(visit, console, post, axe):
    done, moved = post(), post()
    page = visit(console)
    for result, heading in ((done, "1 event is cancelled"), (moved, "Nothing was changed")):
        open_event(page, console, result.id)
        press(page, "Cancel…")
        if result is moved:
            result.change_delay(2 * HOUR)
        press(page, "Cancel 1 event")
        assert verdict(page) == heading
        wrong = faults(page, axe)
        assert not wrong, "\n".join(wrong)


def test_a_parked_event_is_replayed_and_another_is_dropped(page, console, fleet):
    replayed, dropped = (fleet.shop.refund.post((f"own-{n}", n), delay=0) for n in range(2))
    for result in (replayed, dropped):
        wait_until(lambda r=result: (info := r.peek()) and info.state is State.PARKED, "the event to be parked", 20)
    open_event(page, console, dropped.id)
    press(page, "Drop…")
    press(page, "Drop 1 event")
    assert verdict(page) == "1 event is dropped"
    assert dropped.peek() is None
    open_event(page, console, replayed.id)
    press(page, "Replay…")
    press(page, "Replay 1 event")
    assert verdict(page) == "1 event is pending again"
    wait_until(lambda: (info := replayed.peek()) and info.state is State.PARKED, "the event to be parked again", 20)
    fleet.timer.drop(replayed.id)


def test_a_queue_is_held_and_resumed(page, console, fleet, queue):
    page.goto(f"{console.origin}/holds")
    page.get_by_label("Name").fill(queue)
    page.get_by_label("Why").fill("<b>maintenance</b>")
    press(page, "Hold…")
    press(page, f"Hold queue {queue}")
    assert verdict(page) == f"queue {queue} is held"
    [hold] = [hold for hold in fleet.timer.holds() if hold.name == queue]
    assert (hold.by, hold.why) == ("ann", "<b>maintenance</b>")
    page.goto(f"{console.origin}/holds")
    page.get_by_role("button", name=f"Resume queue {queue}…").click()
    press(page, f"Resume queue {queue}")
    assert verdict(page) == f"queue {queue} is resumed"
    assert queue not in [hold.name for hold in fleet.timer.holds()]


def test_an_event_is_cancelled_by_keyboard_alone(visit, console, post):
    result = post()
    page = visit(console, f"/events/{result.id}")
    tab_to(page, page.get_by_role("button", name="Cancel…"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/act?*")
    tab_to(page, page.get_by_role("button", name="Cancel 1 event"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/act")
    assert verdict(page) == "1 event is cancelled"
    assert result.peek() is None


def test_a_box_chooses_all_of_a_page(visit, console, post, queue):
    for n in range(3):
        post(HOUR + n)
    page = visit(console, f"/events?queue={queue}")
    page.get_by_label("Choose all of this page").check()
    press(page, "Run now…")
    assert page.locator("h1").inner_text() == "Run now 3 events?"


# --- refused


def test_without_the_token_nothing_is_shown_and_nothing_changed(visit, console, post):
    result = post()
    page = visit(console, f"/events/{result.id}", signed_in=False)
    assert page.url == f"{console.origin}/login"
    assert result.id not in page.content()
    form = {"do": "cancel", "id": result.id, "confirmed": "yes", "csrf": "x"}
    answer = page.request.post(f"{console.origin}/act", form=form)
    assert answer.status == 403
    assert result.peek().state is State.PENDING


def test_a_wrong_token_is_refused_and_a_right_one_serves_until_one_signs_out(visit, console):
    page = visit(console, "/login", signed_in=False)
    visit.watch(page).allow("status of 403")
    page.get_by_label("Token").fill("x" * 16)
    press(page, "Sign in")
    assert page.locator("[role=alert]", has_text="not the token").is_visible()
    sign_in(page, console, name="Zoë")
    assert page.locator(".who").get_by_text("Zoë").is_visible()
    press(page, "Sign out")
    page.goto(f"{console.origin}/events")
    assert page.url == f"{console.origin}/login"


def test_a_console_that_only_shows_has_no_buttons_and_refuses_changes(visit, reader, post):
    result = post()
    page = visit(reader, f"/events/{result.id}")
    for path in (f"/events/{result.id}", "/events", "/events?state=parked", "/holds"):
        page.goto(reader.origin + path)
        # Find is all that there is to press.
        assert set(page.locator("main button:visible").all_inner_texts()) <= {"Find"}, path
    answer = page.request.post(f"{reader.origin}/act", form={"do": "cancel", "id": result.id, "confirmed": "yes"})
    assert answer.status == 403
    assert result.peek().state is State.PENDING


def test_a_form_of_another_site_is_refused(visit, console, post):
    result = post()
    page = visit(console, "/health")
    watch = visit.watch(page)
    watch.allow("status of 40")
    fields = {"do": "cancel", "id": result.id, "confirmed": "yes", "csrf": "x"}
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    with site(f'<form method="post" action="{console.origin}/act">{inputs}<button>Win</button></form>') as origin:
        watch.allow_origin(origin)
        page.goto(origin)
        press(page, "Win")
        page.wait_for_url(f"{console.origin}/act")
        assert "Nothing was changed" in page.locator("main").inner_text()
    assert result.peek().state is State.PENDING


def test_a_page_of_another_site_can_neither_frame_nor_read_the_console(visit, console):
    page = visit(console, "/health")
    watch = visit.watch(page)
    with site(f'<iframe src="{console.origin}/"></iframe>') as origin:
        watch.allow_origin(origin)
        for refusal in ("frame-ancestors", "X-Frame-Options", "favicon", "CORS", "ERR_FAILED", "status of 404"):
            watch.allow(refusal)
        page.goto(origin)
        assert page.frames[1].evaluate("() => document.body.innerText").find("Coming due") == -1
        read = page.evaluate(f"() => fetch('{console.origin}/').then(() => 'read', () => 'refused')")
        assert read == "refused"


def test_a_form_without_its_secret_is_refused(visit, console, post):
    result = post()
    page = visit(console, f"/act?do=cancel&id={result.id}")
    visit.watch(page).allow("status of 403")
    page.locator("[name=csrf]").evaluate("each => { each.value = 'x' }")
    press(page, "Cancel 1 event")
    assert "Nothing was changed" in page.locator("main").inner_text()
    assert result.peek().state is State.PENDING
