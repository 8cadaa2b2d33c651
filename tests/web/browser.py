"""A browser without a screen: it follows links, sends forms, and keeps cookies."""

import asyncio
import html
import re

import httpx

TOKEN = "a token of this test"

#: What a browser says when a form of ours is sent.
OURS = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}


class Browser:
    """Follows links and sends forms; keeps cookies."""

    def __init__(self, application, base_url="http://localhost"):
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url=base_url, follow_redirects=True)

    def request(self, method, path, **options):
        return asyncio.run(self.client.request(method, path, **options))

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, data, headers=OURS, **options):
        return self.request("POST", path, data=data, headers=headers, **options)

    def sign_in(self, name="mia"):
        answer = self.post("/login", {"token": TOKEN, "name": name})
        assert answer.status_code == 200, answer.text
        return self

    def confirm(self, fields, **typed):
        """Ask for something, and confirm what the page asks; returns the page of the verdict."""
        asked = self.post("/act", fields)
        assert asked.status_code == 200, asked.text
        return self.post("/act", {**hidden(asked.text), **typed})


def hidden(page):
    """The hidden fields of the form of confirmation, a field of several values as a list."""
    form = re.search(r'<form method="post" action="/act" class="confirm">.*?</form>', page, re.DOTALL)[0]
    fields = {}
    for name, value in re.findall(r'<input type="hidden" name="(.*?)" value="(.*?)">', form):
        fields.setdefault(name, []).append(html.unescape(value))
    return fields


def text_of(page):
    """What a page says, without its tags, each white space one blank."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
