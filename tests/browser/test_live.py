"""What changes on an open page by itself: new events, the chosen span, a Redis that is away and back."""

import uuid

import pytest
from fleet import running_fleet
from looks import faults
from rig.waiting import wait_until


def test_an_open_page_shows_a_new_queue(visit, console, fleet):
    page = visit(console)
    name = f"live-{uuid.uuid4().hex[:8]}"
    result = fleet.shop.remind.post((1,), delay=1200, queue=name)
    try:
        page.locator("#part-queues").get_by_text(name).wait_for()
        page.locator("#part-chart .legend").get_by_text(name).wait_for()
    finally:
        result.cancel()


def test_a_page_that_is_not_seen_asks_for_nothing(visit, console):
    page = visit(console)
    with page.expect_event("requestfailed", lambda request: "/live" in request.url):
        page.evaluate("""() => {
            Object.defineProperty(document, 'hidden', { value: true })
            document.dispatchEvent(new Event('visibilitychange'))
        }""")


def test_the_keyboard_chooses_a_span_of_the_histogram(visit, console):
    page = visit(console)
    page.locator(".spans a").first.focus()
    for _ in range(20):
        page.keyboard.press("Shift+ArrowRight")
    assert page.locator(".spans .chosen").count() == 21
    page.keyboard.press("Enter")
    page.locator("#list-title", has_text="Due ").wait_for()
    assert page.url == f"{console.origin}/"
    page.get_by_role("button", name="Show what is next again").click()
    page.get_by_role("heading", name="Next", exact=True).wait_for()


def test_the_mouse_chooses_a_span_of_the_histogram(visit, console):
    page = visit(console)
    # None while the chart is replaced by a newer one.
    box = wait_until(page.locator(".spans").bounding_box, "the chart to be there")
    page.mouse.move(box["x"] + 5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60, steps=4)
    page.mouse.up()
    page.locator("#list-title", has_text="Due ").wait_for()


@pytest.fixture(scope="module")
def lonely():
    """A fleet of its own, whose Redis may be stopped; its data outlives that."""
    with running_fleet(appendonly="yes", appendfsync="always") as started:
        started.shop.remind.post((1,), delay=1200, queue="lonely")
        yield started


def test_a_page_says_that_redis_is_away_and_shows_when_it_is_back(visit, lonely, axe):
    console = lonely.start_console()
    page = visit(console)
    page.locator("#part-queues").get_by_text("lonely").wait_for()
    without = visit(console, "/events", javascript=False)
    visit.watch(without).allow("status of 503")
    visit.watch(page).allow("status of 503")
    lonely.server.kill()
    page.locator("#away", has_text="does not answer").wait_for(timeout=30_000)
    without.reload()
    assert "does not answer" in without.locator("h1").inner_text()
    later = visit(console, "/")
    visit.watch(later).allow("status of 503")
    assert "does not answer" in later.locator("h1").inner_text()
    wrong = faults(page, axe) + faults(later, axe)
    assert not wrong, "\n".join(wrong)
    lonely.server.restart()
    page.locator("#away").wait_for(state="hidden", timeout=30_000)
    later.locator("#part-queues").get_by_text("lonely").wait_for(timeout=30_000)
    without.reload()
    assert without.locator("h1").inner_text() == "Events"
