"""What people do in Prefect's UI, done in a real browser: trigger, amend, approve, cancel.

Skipped where there is no Chromium. With SOLON_SCREENSHOTS=FOLDER every step leaves a picture there.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flows.serve.server import HOST
from storage.ledger import Ledger

from .conftest import HANG_S, ROOT
from .driven import TINY
from .served import Served, as_form, recipe_under, torch_workers, until

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="no Chromium on the path"),
]
WAIT_MS = 60_000
ATTEMPTS = 3
SMALL = as_form(TINY)
SLUG = "be-concise"
WORDS = "Name one sentence of the response that could go."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, file: Path) -> Iterator[Served]:
    """A workspace whose recipe `mine` is `smoke` under the constitution that a test may change."""
    home = tmp_path_factory.mktemp("browser") / "home"
    recipe_under(home, file)
    served = Served(home)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A constitution that a test may change."""
    path = tmp_path_factory.mktemp("words") / "mine.yaml"
    return Path(shutil.copy(ROOT / "constitution" / "default.yaml", path))


class Ui:
    """One logged-in page of the UI."""

    def __init__(self, page: Any, served: Served, url: str = "") -> None:
        self.page, self.served, self.url = page, served, url or served.url

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}/v2/{path}")

    def log_in(self) -> None:
        self.open("dashboard")
        self.page.wait_for_url("**/login**")
        self.page.locator("input").first.fill(self.served.login)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/dashboard**")

    def shoot(self, name: str) -> None:
        if folder := os.environ.get("SOLON_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def open_form(self, flow: str, *overrides: str) -> None:
        """The form of a deployment, recipe `mine` chosen and overrides entered."""
        self.open(f"deployments/deployment/{self.served.deployment(flow)['id']}/run")
        self.page.locator("button", has_text="demo").click()
        self.page.get_by_role("option", name="mine").click()
        self.add(overrides)

    def add(self, overrides: Sequence[str]) -> None:
        """Enter overrides, each into an item of its own."""
        button = self.page.get_by_role("button", name="Add item").first
        for text in overrides:
            button.click()
            button.locator("xpath=ancestor::*[.//textarea][1]").locator("textarea").last.fill(text)

    def submit(self) -> str:
        """Send the form and open the run that comes of it; returns its id."""
        for _ in range(ATTEMPTS):
            with self.page.expect_response(re.compile("create_flow_run$")) as answer:
                self.page.get_by_role("button", name="Submit").click()
            if answer.value.status != 503:  # busy: a person would try again as well
                break
        assert answer.value.status == 201, answer.value.text()
        run = str(answer.value.json()["id"])
        self.open(f"runs/flow-run/{run}")
        return run

    def wait_for(self, state: str) -> None:
        self.page.get_by_text(state, exact=True).first.wait_for(timeout=HANG_S * 1000)

    def choose(self, item: str) -> None:
        """An item of the menu of the page's run."""
        self.page.locator("button", has_text="Open menu").first.click()
        self.page.get_by_role("menuitem", name=item).click()

    def artifact(self, name: str) -> str:
        """The text of one of the run's artifacts, opened from its page."""
        self.page.get_by_role("tab", name="Artifacts").click()
        self.page.get_by_text(name, exact=True).first.click()
        self.page.wait_for_url("**/artifacts/key/**")
        self.page.get_by_text(re.compile(r"^[0-9a-f]{8}$")).first.click()
        self.page.wait_for_url("**/artifacts/artifact/**")
        self.page.wait_for_timeout(1500)
        return str(self.page.inner_text("body"))

    def answer(self, is_approved: bool, name: str, shot: str) -> str:
        """Answer the plan of the page's run; returns what was shown."""
        self.wait_for("Suspended")
        self.choose("Resume")
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("By").fill(name)
        if is_approved:
            dialog.get_by_role("switch").or_(dialog.get_by_role("checkbox")).first.click()
        self.shoot(shot)
        shown = str(dialog.inner_text())
        dialog.get_by_role("button", name="Resume", exact=True).click()
        return shown


@pytest.fixture(scope="module")
def ui(served: Served) -> Iterator[Ui]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(viewport={"width": 1280, "height": 1100}).new_page()
        page.set_default_timeout(WAIT_MS)
        found = Ui(page, served)
        found.log_in()
        yield found
        browser.close()


def test_the_ui_answers_under_localhost_and_through_a_tunnel(ui: Ui, served: Served) -> None:
    """The page asks the server that it came from, whatever that is called on this side."""
    with tunnel(served.port) as port:
        for address in (f"localhost:{served.port}", f"localhost:{port}", f"{HOST}:{port}"):
            context = ui.page.context.browser.new_context()
            page = context.new_page()
            page.set_default_timeout(WAIT_MS)
            Ui(page, served, f"http://{address}").log_in()
            page.goto(f"http://{address}/v2/deployments")
            page.get_by_text("every-night").first.wait_for()
            context.close()


@contextmanager
def tunnel(to: int) -> Iterator[int]:
    """A port that passes bytes on to another, as `ssh -L` does."""

    class Carry(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((HOST, to)) as there:
                threading.Thread(target=pump, args=(there, self.request), daemon=True).start()
                pump(self.request, there)

    with socketserver.ThreadingTCPServer((HOST, 0), Carry) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def ledger(served: Served) -> Ledger:
    return Ledger(served.solon.home / "ledger.duckdb")


def test_run_align_from_its_form_and_read_the_report(ui: Ui, served: Served, file: Path) -> None:
    ui.open_form("align", *SMALL)
    ui.shoot("form")
    run = ui.submit()
    ui.wait_for("Completed")
    ui.shoot("run")
    assert "Scorecard" in ui.artifact("smoke-report")
    ui.shoot("report")
    rows = ledger(served).query("SELECT run_id FROM runs WHERE flow_run_id = ?", [run])
    assert len(rows) == 1

    ui.open(f"runs/flow-run/{run}")
    ui.artifact("smoke-report-page")
    link = ui.page.locator("a[href^='/solon/reports/evl_']").first.get_attribute("href")
    with pytest.raises(api.Error):  # a browser that may not ask for a login
        ui.page.goto(f"{served.url}{link}")
    user, _, password = served.login.partition(":")
    login = {"username": user, "password": password}
    page = ui.page.context.browser.new_context(http_credentials=login).new_page()
    page.goto(f"{served.url}/solon/")
    page.locator(f"a[href='{link}']").click()
    assert page.locator("h2", has_text="Scorecard").is_visible()


def test_amend_shows_the_plan_and_touches_its_rows_only(ui: Ui, served: Served, file: Path) -> None:
    before = file.read_text(encoding="utf-8")
    amend(ui, file)
    run = ui.submit()
    shown = ui.answer(True, "Ada", "approval")
    assert SLUG in shown
    assert "critiques" in shown
    ui.wait_for("Completed")
    made = ledger(served).query(
        "SELECT step, p.slug, c.prompt_id, count(*) AS n FROM completions c JOIN principles p"
        " USING (principle_id) JOIN runs USING (run_id) WHERE flow_run_id = ? GROUP BY ALL",
        [run],
    )
    assert {row["slug"] for row in made} == {SLUG}
    assert {row["step"] for row in made} == {"critique", "revision"}
    after = file.read_text(encoding="utf-8")
    assert WORDS in after
    assert len(after.splitlines()) == len(before.splitlines())
    told = ledger(served).query("SELECT decided_by FROM approvals WHERE is_approved")
    assert [row["decided_by"] for row in told] == ["Ada"]


def test_a_refused_plan_changes_nothing(ui: Ui, served: Served, file: Path) -> None:
    before = file.read_text(encoding="utf-8")
    amend(ui, file, "Say it in another way.")
    ui.submit()
    ui.answer(False, "Bob", "refusal")
    ui.wait_for("Rejected")
    assert file.read_text(encoding="utf-8") == before
    told = ledger(served).query("SELECT decided_by FROM approvals WHERE NOT is_approved")
    assert [row["decided_by"] for row in told] == ["Bob"]


def test_a_training_run_is_cancelled(ui: Ui, served: Served, file: Path) -> None:
    ui.open_form("align", *as_form(TINY | {"sft.max_steps": 500}))
    run = ui.submit()
    until(lambda: torch_workers(served.solon.home), "training")
    ui.choose("Cancel")
    ui.page.get_by_role("button", name="Cancel Flow Run").click()
    until(lambda: not torch_workers(served.solon.home), "the child's end")
    ui.wait_for("Cancelled")
    assert served.state(run) == "CANCELLED"
    until(lambda: served.slots() == 0, "the slot's return")


def test_the_nightly_schedule_is_there_and_can_be_switched(ui: Ui, served: Served) -> None:
    def reads(expected: bool) -> bool:
        return bool(served.deployment("nightly")["schedules"][0]["active"] is expected)

    ui.open(f"deployments/deployment/{served.deployment('nightly')['id']}")
    ui.page.get_by_text("At 02:00 AM").first.wait_for()
    ui.shoot("schedule")
    assert reads(False)
    for expected in (True, False):
        ui.page.get_by_role("switch").first.click()
        until(partial(reads, expected), "the switch")
        checked = str(expected).lower()  # a click asks for the opposite of what the page shows
        ui.page.locator(f"[role=switch][aria-checked={checked}]").first.wait_for()


def amend(ui: Ui, file: Path, words: str = WORDS) -> None:
    """The form of `amend` with new words for one principle."""
    ui.open_form("amend")
    ui.page.get_by_label("Slug").first.click()
    ui.page.get_by_role("option", name=SLUG, exact=True).click()
    ui.page.get_by_label("Critique").fill(words)
    ui.add(SMALL)
    ui.shoot("amend")
