"""Who may look and who may change; what a browser is told; forged posts."""

import logging

import pytest
from browser import OURS, TOKEN, Browser, hidden, text_of
from starlette.applications import Starlette
from starlette.routing import Mount

from celery_dtimer import NotInstalledError
from celery_dtimer.web import console
from celery_dtimer.web.policy import COOKIE, Policy


def test_a_console_without_leave_to_write_changes_nothing(reader, remind):
    result = remind.post((), delay=600)
    assert "read-only" in text_of(reader.get("/").text)
    assert "/act" not in reader.get(f"/events/{result.id}").text
    for answer in (
        reader.get("/act", params={"do": "cancel", "id": result.id}),
        reader.post("/act", {"do": "cancel", "id": result.id}),
        reader.post("/act", {"do": "cancel", "id": result.id, "confirmed": "yes"}),
    ):
        assert answer.status_code == 403
        assert "started without allow_writes" in text_of(answer.text)
    assert result.peek() is not None


def test_writes_need_a_token_or_a_host_application_that_knows_its_users(app):
    with pytest.raises(ValueError, match="allow_writes needs a token or authorize"):
        console(app, allow_writes=True)
    with pytest.raises(ValueError, match="16 characters") as caught:
        console(app, token="short secret")
    assert "short secret" not in str(caught.value)
    with pytest.raises(ValueError, match="and not both"):
        console(app, token=TOKEN, authorize=lambda request: "mia")


def test_an_app_without_a_timer_is_refused(make_app):
    with pytest.raises(NotInstalledError):
        console(make_app(installed=False))


def test_without_the_token_nothing_is_shown_or_changed(app, remind, caplog):
    result = remind.post((), delay=600)
    browser = Browser(console(app, allow_writes=True, token=TOKEN))
    for path in ("/", "/events", f"/events/{result.id}", "/health", "/act?do=cancel&id=x"):
        answer = browser.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert browser.get("/live").status_code == 403
    assert browser.post("/act", {"do": "cancel", "id": result.id, "confirmed": "yes"}).status_code == 403
    wrong = browser.post("/login", {"token": "wrong", "name": "\x1b[31meve"})
    assert wrong.status_code == 403
    assert "That is not the token." in text_of(wrong.text)
    assert r"a wrong token was given, with the name \x1b[31meve" in caplog.text
    assert result.peek() is not None
    assert browser.get("/static/console.css").status_code == 200


def test_a_session_is_kept_in_a_cookie_that_no_script_and_no_other_site_has(app):
    browser = Browser(console(app, token=TOKEN))
    answer = browser.post("/login", {"token": TOKEN}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert browser.get("/").status_code == 200
    secure = Browser(console(app, token=TOKEN), "https://localhost")
    answer = secure.post("/login", {"token": TOKEN}, headers={}, follow_redirects=False)
    assert "Secure" in answer.headers["set-cookie"]
    browser.post("/logout", {})
    assert browser.get("/", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "cookie", ["", "x", "...", "1.a.bWlh.00", "9999999999.a.bWlh." + "0" * 64, "9" * 20, "é.é.é.é"]
)
def test_a_made_up_session_is_nobodys(cookie):
    policy = Policy(token=TOKEN)
    assert policy.user_of(cookie) is None
    assert policy.user_of(policy.start_session("mia")) == "mia"
    assert Policy(token=TOKEN + "2").user_of(policy.start_session("mia")) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": ""},
        {"origin": "http://localhost:8000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost"},
    ],
)
def test_a_post_from_another_site_changes_nothing(writer, remind, headers):
    result = remind.post((), delay=600)
    fields = hidden(writer.post("/act", {"do": "cancel", "id": result.id}).text)
    answer = writer.post("/act", fields, headers=headers)
    assert answer.status_code == 403
    assert "The request came from another site. Nothing was changed." in text_of(answer.text)
    assert result.peek() is not None


def test_a_form_without_the_sessions_own_mark_changes_nothing(writer, app, remind):
    result = remind.post((), delay=600)
    fields = hidden(writer.post("/act", {"do": "cancel", "id": result.id}).text)
    other = Browser(console(app, allow_writes=True, token=TOKEN)).sign_in("eve")
    foreign = hidden(other.post("/act", {"do": "cancel", "id": result.id}).text)["csrf"]
    for csrf in ("", "x", "é", foreign):
        answer = writer.post("/act", {**fields, "csrf": csrf})
        assert answer.status_code == 403
        assert "none of this console's" in text_of(answer.text)
    assert result.peek() is not None
    assert writer.post("/act", fields).status_code == 200


def test_a_console_that_is_bound_to_this_host_has_only_its_names(app, caplog):
    browser = Browser(console(app, hosts=["localhost", "127.0.0.1", "[::1]"]))
    for host in ("localhost", "localhost:5757", "127.0.0.1:5757", "[::1]:5757", "LOCALHOST"):
        assert browser.get("/holds", headers={"host": host}).status_code == 200
    for host in ("evil.example", "evil.example:5757", "localhost.evil.example", "", "[::2]", "[", "a b:c"):
        answer = browser.get("/holds", headers={"host": host})
        assert answer.status_code == 421
        assert "Unknown host name" in answer.text
    assert "refused the host name evil.example" in caplog.text


@pytest.mark.parametrize(
    "path", ["/", "/events", "/nothing", "/events?state=x", "/static/console.js", "/static/nothing"]
)
def test_every_answer_binds_the_browser(reader, path):
    headers = reader.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_no_page_has_code_or_style_inside_or_asks_others(reader, writer, remind):
    result = remind.post((), delay=600)
    paths = ["/", "/events", f"/events/{result.id}", "/holds", "/health", "/nothing"]
    pages = [reader.get(path).text for path in paths]
    paths.remove("/health")  # it waits a second for workers
    pages += [writer.get(path).text for path in [*paths, f"/act?do=move&id={result.id}", "/login"]]
    for page in pages:
        for part in ("<style", " style=", "onclick", "onload", "javascript:", "http://", "https://"):
            assert part not in page.replace('origin="http://localhost"', "")
        assert page.count("<script") == page.count("<script src=") == 1
        assert page.count("<h1") == 1
        assert "<main" in page


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(reader, method):
    assert reader.request(method, "/").status_code == 405


def test_a_form_is_bounded(writer):
    assert writer.post("/act", {"do": "cancel", "id": ["x" * 150] * 2000}).status_code == 413
    assert writer.post("/act", {f"f{number}": "" for number in range(2001)}).status_code == 400
    answer = writer.request("POST", "/act", content=b"\xff\xfe", headers=OURS)
    assert (answer.status_code, "the body must be a form" in answer.text) == (400, True)


def test_a_host_application_says_who_is_there(app, remind, caplog):
    caplog.set_level(logging.INFO, "celery_dtimer")

    async def authorize(request):
        return request.headers.get("x-user")

    hosting = Starlette(routes=[Mount("/ops/dtimer", console(app, allow_writes=True, authorize=authorize))])
    browser = Browser(hosting)
    assert browser.get("/ops/dtimer/").status_code == 403
    browser.client.headers["x-user"] = "noor"
    result = remind.post((), delay=600)
    page = browser.get(f"/ops/dtimer/events/{result.id}").text
    assert 'href="/ops/dtimer/holds"' in page
    assert 'action="/ops/dtimer/act"' in page
    asked = browser.get("/ops/dtimer/act", params={"do": "cancel", "id": result.id}).text
    assert browser.client.cookies.get(COOKIE)
    assert "Path=/ops/dtimer" not in asked
    fields = hidden(asked.replace("/ops/dtimer/act", "/act"))
    assert browser.post("/ops/dtimer/act", fields).status_code == 200
    assert "dtimer: web: noor asked to cancel: 1 cancelled" in caplog.text
    assert browser.get("/ops/dtimer/login").status_code == 404


def test_a_wsgi_application_mounts_it(app, remind):
    from a2wsgi import ASGIMiddleware
    from werkzeug.middleware.dispatcher import DispatcherMiddleware
    from werkzeug.test import Client

    hosting = DispatcherMiddleware(
        lambda environ, start: (start("404 Not Found", []), [b""])[1],
        {"/dtimer": ASGIMiddleware(console(app, live=False))},
    )
    result = remind.post((), delay=600)
    page = Client(hosting).get("/dtimer/events", base_url="http://localhost")
    assert page.status_code == 200
    assert f'href="/dtimer/events/{result.id}"' in page.text
    assert 'data-live=""' in Client(hosting).get("/dtimer/", base_url="http://localhost").text
