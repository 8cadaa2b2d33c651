"""The console in Django's admin: the staff looks, and those who may change tasks change them."""

import asyncio
import html
import re
import subprocess
import sys
from urllib.parse import urlencode

import pytest
from django.test import AsyncClient, Client

from celery_dtimer.django import console
from celery_dtimer.web import live

#: What a browser says when a form of ours is sent.
OURS = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def user():
    """Makes users of the database."""
    from django.contrib.auth.models import Permission, User

    made = []

    def user(name="mia", permissions=(), **flags):
        made.append(User.objects.create_user(name, password="secret", **flags))
        made[-1].user_permissions.set(Permission.objects.filter(codename__in=permissions))
        return made[-1]

    yield user
    for one in made:
        one.delete()


@pytest.fixture
def client_of(app, user, monkeypatch):
    """A browser of a user who has signed in, with Django's own protection of forms on."""
    for name in ("ANSWER", "FIRST_ANSWER"):
        monkeypatch.setattr(live, name, 0.01)  # no worker is there to answer

    def client_of(**flags):
        client = Client(enforce_csrf_checks=True)
        client.force_login(user(**flags))
        return client

    yield client_of
    console._console.cache_clear()


def text_of(answer):
    return answer.content.decode()


def hidden(asked):
    """The hidden fields of the form of confirmation."""
    form = re.search(r'<form method="post" [^>]*class="confirm">.*?</form>', text_of(asked), re.DOTALL)[0]
    fields = re.findall(r'<input type="hidden" name="(.*?)" value="(.*?)">', form)
    return {name: html.unescape(value) for name, value in fields}


def send(client, path, fields, headers=OURS, **options):
    """Send a form as a browser does."""
    return client.post(path, urlencode(fields), FORM, headers=headers, **options)


def cancel(client, event_id, at="/admin/dtimer", headers=OURS):
    """Cancel an event by the forms of its page, as a browser does."""
    asked = send(client, f"{at}/act", {"do": "cancel", "id": event_id}, headers)
    if asked.status_code != 200:
        return asked
    return send(client, f"{at}/act", hidden(asked), headers)


def test_who_has_not_signed_in_is_sent_to_the_admins_page_for_that(app):
    answer = Client().get("/admin/dtimer/events")
    assert (answer.status_code, answer["location"]) == (302, "/admin/login/?next=/admin/dtimer/events")


def test_who_is_not_of_the_staff_sees_nothing(client_of):
    client = client_of()
    for path in ("", "events", "act", "static/console.js"):
        assert client.get(f"/admin/dtimer/{path}").status_code == 302


def test_the_staff_looks_and_changes_nothing(client_of, remind):
    result = remind.post_in(60, 17)
    client = client_of(is_staff=True)
    answer = client.get(f"/admin/dtimer/events/{result.id}")
    assert answer.status_code == 200
    assert "shop.remind" in text_of(answer)
    assert "Cancel" not in text_of(answer)
    assert cancel(client, result.id).status_code == 403
    assert result.peek()


def test_the_pages_find_each_other_and_their_files(client_of):
    client = client_of(is_staff=True)
    answer = client.get("/admin/dtimer/")
    assert answer["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer["content-security-policy"]
    links = set(re.findall(r'(?:href|src)="(/[^"]*)"', text_of(answer)))
    assert {"/admin/dtimer/events", "/admin/dtimer/holds"} <= links
    for link in links - {"/admin/dtimer/health"}:  # it asks workers, and waits for their answers
        assert link.startswith("/admin/dtimer/")
        assert client.get(html.unescape(link)).status_code == 200
    assert client.get("/admin/dtimer/nothing").status_code == 404
    assert client.head("/admin/dtimer/events").status_code == 200


def test_a_superuser_changes_tasks_by_the_consoles_own_forms_and_the_log_has_the_name(client_of, remind, caplog):
    caplog.set_level("INFO", "celery_dtimer.web")
    result = remind.post_in(60, 17)
    answer = cancel(client_of(name="root", is_staff=True, is_superuser=True), result.id)
    assert answer.status_code == 200
    assert result.peek() is None
    assert "root asked to cancel: 1 cancelled" in caplog.text


def test_the_cookie_of_the_forms_belongs_to_the_console_alone(client_of, remind):
    client = client_of(is_staff=True, is_superuser=True)
    asked = send(client, "/admin/dtimer/act", {"do": "hold", "what": "queue", "name": "celery"})
    cookie = asked.cookies["dtimer_session"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"].lower()) == ("/admin/dtimer", True, "strict")


def test_another_permission_may_be_that_of_those_who_change_tasks(client_of, remind):
    result = remind.post_in(60, 17)
    client = client_of(is_staff=True, permissions=["add_user"])
    assert cancel(client, result.id).status_code == 403
    assert cancel(client, result.id, at="/steered").status_code == 200
    assert result.peek() is None


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_form_of_another_site_changes_nothing(client_of, remind, headers):
    result = remind.post_in(60, 17)
    client = client_of(is_staff=True, is_superuser=True)
    assert cancel(client, result.id, headers=headers).status_code == 403
    asked = send(client, "/admin/dtimer/act", {"do": "cancel", "id": result.id})
    client.cookies["dtimer_session"] = "another"
    assert send(client, "/admin/dtimer/act", hidden(asked)).status_code == 403
    assert result.peek()


def test_no_header_of_a_request_is_taken_for_the_users_name(client_of, remind, caplog):
    caplog.set_level("INFO", "celery_dtimer.web")
    result = remind.post_in(60, 17)
    client = client_of(name="root", is_staff=True, is_superuser=True)
    cancel(client, result.id, headers={**OURS, "dtimer.user": "mia", "X-Forwarded-User": "mia"})
    assert "root asked to cancel" in caplog.text


def test_it_works_under_asgi(app, user, remind):
    result = remind.post_in(60, 17)
    client = AsyncClient(enforce_csrf_checks=True)
    client.force_login(user(is_staff=True, is_superuser=True))

    async def look_and_cancel():
        page = await client.get(f"/admin/dtimer/events/{result.id}?%C3%A4=%C3%B6")
        asked = await send(client, "/admin/dtimer/act", {"do": "cancel", "id": result.id})
        done = await send(client, "/admin/dtimer/act", hidden(asked))
        return page, done

    page, done = asyncio.run(look_and_cancel())
    console._console.cache_clear()
    assert "shop.remind" in text_of(page)
    assert done.status_code == 200
    assert result.peek() is None


def test_the_admins_first_page_links_to_it(client_of):
    page = text_of(client_of(is_staff=True).get("/admin/"))
    assert '<a href="/admin/dtimer/">' in page


def test_it_stands_below_a_prefix_of_the_whole_site(client_of):
    page = client_of(is_staff=True).get("/admin/dtimer/", SCRIPT_NAME="/shop")
    assert 'href="/shop/admin/dtimer/events"' in text_of(page)


GREENLETS = """
from gevent import monkey
monkey.patch_all()
from django.conf import settings
settings.configure(INSTALLED_APPS=["celery_dtimer.django", "django.contrib.contenttypes", "django.contrib.auth"])
import asyncio, django, types
django.setup()
from django.test import RequestFactory
from celery_dtimer.django.console import console_page
request = RequestFactory().get("/")
request.user = types.SimpleNamespace(is_active=True, is_staff=True)
answer = console_page(request)
assert (answer.status_code, asyncio._get_running_loop()) == (501, None), answer
assert b"celery -A PROJECT dtimer web" in answer.content
"""


@pytest.mark.slow
def test_in_a_process_of_greenlets_it_says_why_it_does_not_run():
    done = subprocess.run([sys.executable, "-c", GREENLETS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
