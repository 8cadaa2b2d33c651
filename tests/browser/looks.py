"""What is asked of every page."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rig.ports import HOST

DESK, PHONE = 1280, 360  # CSS pixels; a phone that is small today

#: Rules of WCAG 2.0 to 2.2, levels A and AA.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
MOST_TABS = 300  # stops of the keyboard on one page


def violations(page, *rules):
    """What axe-core finds wrong with a page by some rules, or by all of `RULES`: one line a rule."""
    chosen = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": RULES}
    options = {"runOnly": chosen, "resultTypes": ["violations"]}
    found = page.evaluate(f"axe.run(document, {json.dumps(options)}).then(each => each.violations)")
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: "
        + "; ".join(f"{node['target']} {node['html'][:120]} {node['any'][:1]}" for node in one["nodes"][:4])
        for one in found
    ]


def faults(page, axe):
    """What keeps somebody from using a page: by day, by night, or on a phone. It stays as a phone shows it by night."""
    page.evaluate(f"() => {{ {axe} }}")
    page.emulate_media(color_scheme="light")
    wrong = [f"light: {each}" for each in violations(page)]
    page.emulate_media(color_scheme="dark")
    wrong += [f"dark: {each}" for each in violations(page, "color-contrast")]
    page.set_viewport_size({"width": PHONE, "height": 740})
    wrong += [f"phone: {each}" for each in violations(page, "target-size", "scrollable-region-focusable")]
    return wrong + [f"too wide: {each}" for each in too_wide(page)]


def too_wide(page):
    """The elements that make a page scroll sideways; nothing if it does not."""
    return page.evaluate("""() => {
        const root = document.documentElement
        if (root.scrollWidth <= root.clientWidth) return []
        return [...document.body.querySelectorAll('*')]
            .filter(each => each.getBoundingClientRect().right > root.clientWidth + 1)
            .map(each => each.outerHTML.slice(0, 150)).slice(0, 10)
    }""")


def tab_to(page, target):
    """Go to an element by the tab key alone, from the start of the page."""
    page.evaluate("() => { document.activeElement?.blur(); getSelection().removeAllRanges() }")
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if target.evaluate("each => each === document.activeElement"):
            assert has_outline(page), f"{target} shows no focus"
            return
    raise AssertionError(f"{MOST_TABS} tabs do not lead to {target}")


def has_outline(page):
    """Whether one sees where the keyboard is."""
    return page.evaluate("""() => {
        const style = getComputedStyle(document.activeElement)
        return (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none'
    }""")


@contextmanager
def site(text: str) -> Iterator[str]:
    """Another site: its one page, and where it is. Another port is another origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_): ...

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
