"""Every page, as different people have it: by day and by night, on a phone, by keyboard, without scripts."""

from dataclasses import dataclass
from urllib.parse import quote

import pytest
from looks import faults, tab_to

#: Paths of the pages; names in braces are ids of `Places`.
PAGES = {
    "now": "/",
    "day": "/?range=day",
    "month": "/?range=month",
    "pending": "/events",
    "later pages": "/events?after=50",
    "of a queue": "/events?queue=imports",
    "of a task": "/events?task=shop.mail.digest",
    "nothing found": "/events?task=no.such.task",
    "leased": "/events?state=leased",
    "parked": "/events?state=parked",
    "an event": "/events/{pending}",
    "a leased event": "/events/{leased}",
    "a parked event": "/events/{parked}",
    "a large event": "/events/big?payload=1",
    "an unknown event": "/events/no-such-id",
    "holds": "/holds",
    "health": "/health",
    "cancel?": "/act?do=cancel&id={pending}",
    "move?": "/act?do=move&id={pending}",
    "cancel all?": "/act?do=cancel&all=1&queue=imports",
    "replay all?": "/act?do=replay&all=1&state=parked",
    "hold?": "/act?do=hold&what=queue&name=reports",
    "sign in": "/login",
    "a wrong address": "/events?from=yesterday-ish",
    "no such page": "/nowhere",
}
#: What Chromium writes of an answer that says so.
REFUSED = "the server responded with a status of 40"


@dataclass(frozen=True)
class Places:
    """Ids of events that stay as they are."""

    pending: str
    leased: str
    parked: str


@pytest.fixture(scope="session")
def places(fleet):
    pending = next(event.id for event in fleet.timer.upcoming(limit=500) if event.task == "shop.orders.expire_cart")
    return Places(pending, fleet.timer.leased()[0].id, fleet.timer.parked()[0].id)


@pytest.fixture(params=PAGES, ids=str)
def path(request, places):
    return PAGES[request.param].format(**vars(places))


def test_a_page_can_be_used_by_everybody_by_day_and_by_night_and_on_a_phone(page, kept_visits, console, path, axe):
    kept_visits.watch(page).allow(REFUSED)
    page.goto(console.origin + path)
    assert page.locator("h1").count() == 1
    wrong = faults(page, axe)
    assert not wrong, "\n".join(wrong)


def test_pages_need_no_scripts(visit, console, places):
    page = visit(console, "/health", javascript=False)
    visit.watch(page).allow(REFUSED)
    links = page.locator("nav a").all_inner_texts()
    for path in PAGES.values():
        page.goto(console.origin + path.format(**vars(places)))
        assert page.locator("h1").inner_text(), path
        assert page.locator(".top nav a").all_inner_texts() == links, path


def test_the_first_page_without_scripts_has_the_histogram_the_counts_and_the_next_events(visit, console):
    page = visit(console, javascript=False)
    assert page.locator("#chart rect").count() > 10
    assert page.locator("#part-soonest tbody tr").count() == 10
    page.locator(".as-table summary").click()
    page.locator(".as-table tbody a").first.click()
    page.wait_for_url("**/events?from=*")
    assert page.locator("table.events tbody tr").count() >= 1


def test_the_keyboard_leads_to_every_page(page, console):
    page.goto(console.origin)
    for name in ("/events", "/holds", "/health"):
        tab_to(page, page.locator(f".top nav a[href='{name}']"))
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{name}*")
        assert page.locator(".top nav a[aria-current=page]").count() == 1


def test_the_first_stop_of_the_keyboard_skips_to_the_content(page, console):
    page.goto(console.origin)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.closest('main') !== null")


def test_names_ids_and_arguments_that_attack_are_shown_as_text(page, kept_visits, console, fleet):
    kept_visits.watch(page).allow(REFUSED)  # a hostile id may be too odd for a path
    paths = ["/", "/events?queue=orders&after=150", "/holds", "/health"]
    paths += [f"/events/{quote(event_id, safe='')}?payload=1" for event_id in fleet.hostile.values()]
    for path in paths:
        page.goto(console.origin + path)
        assert page.evaluate("() => window.pwned") is None, path
        assert page.locator("main :is(img, script, iframe, i)").count() == 0, path
        assert "\x1b" not in page.locator("body").inner_text(), path


def test_the_page_of_an_event_that_attacks_shows_its_name_as_it_is(page, console, fleet):
    for text, event_id in fleet.hostile.items():
        if text.isprintable() and text != "big":
            page.goto(f"{console.origin}/events/{quote(event_id, safe='')}")
            # The longest is cut at 200 characters.
            assert page.locator("h1").inner_text().rstrip("…")[:150] == text[:150]
