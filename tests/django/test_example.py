"""The example project runs from nothing: its database, a worker, a server, an order, its reminder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from rig.ports import free_port, is_open
from rig.processes import NodeProcess
from rig.waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "django"
KEPT = shutil.ignore_patterns("__pycache__", ".venv", "mails", "*.sqlite3")


@pytest.fixture
def app_file(tmp_path):
    """A module that nobody asks for: the example has names of its own."""
    file = tmp_path / "unused.py"
    file.write_text("")
    return file


@pytest.fixture
def worker_app(project_apart):
    """The example, in a folder of its own."""
    shutil.copytree(EXAMPLE, project_apart.folder, ignore=KEPT, dirs_exist_ok=True)
    return project_apart


@pytest.fixture
def environment(redis_server, redis_url):
    return {"REDIS_URL": redis_server.url_of(0)[: -len("/0")], "SHOP_REMIND_AFTER": "1"}


@pytest.fixture
def manage(worker_app, environment):
    """Runs ``manage.py``, and returns what it says."""

    def manage(*arguments):
        command = [sys.executable, "manage.py", *arguments]
        here = {**os.environ, **environment, "DJANGO_SUPERUSER_PASSWORD": "secret"}
        done = subprocess.run(
            command, cwd=worker_app.folder, env=here, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return manage


@pytest.fixture
def browser(worker_app, environment, manage, tmp_path):
    """A browser at the project's server."""
    manage("migrate")
    port = free_port()
    command = [sys.executable, "manage.py", "runserver", "--noreload", str(port)]
    server = NodeProcess(command, tmp_path / "server.log", worker_app.folder, {**os.environ, **environment})
    wait_until(lambda: is_open(port), "the server", 30)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as client:
        yield client
    server.kill()


def send(browser, page, path, **fields):
    """Send a form of a page."""
    token = re.search(r'name="csrfmiddlewaretoken" value="(.*?)"', browser.get(page).text)[1]
    answer = browser.post(
        path, data={"csrfmiddlewaretoken": token, **fields}, headers={"Referer": str(browser.base_url)}
    )
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.slow
def test_an_order_is_reminded_of_and_a_payment_ends_what_waits(browser, manage, start_worker, worker_app, environment):
    manage("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.com")
    assert "no issues" in manage("check")
    send(browser, "/", "/orders/", email="ada@example.com")
    assert "orders.tasks.remind" in manage("dtimer", "upcoming")
    start_worker(pool="prefork", concurrency=1, app_module="shop", env=environment)
    mails = worker_app.folder / "mails"
    [mail] = wait_until(lambda: list(mails.glob("*")), "the mail", 30)
    assert "To: ada@example.com" in mail.read_text()

    assert "/admin/dtimer/" in send(
        browser, "/admin/login/", "/admin/login/?next=/admin/", username="root", password="secret"
    )
    page = browser.get("/admin/dtimer/events").text
    assert "orders.tasks.cancel" in page
    assert "Cancel" in page

    assert "paid" in send(browser, "/", "/orders/1/pay/")
    assert "orders.tasks" not in manage("dtimer", "upcoming")


@pytest.mark.slow
def test_the_tests_of_the_example_pass(manage, expected_keys):
    assert "Ran 4 tests" in manage("test")
