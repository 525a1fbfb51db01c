"""The review page driven by a real browser, on a desktop by day and on a phone by night.

Skipped where there is no Chromium. With SOLON_SCREENSHOTS=FOLDER every view leaves a picture there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from flows.serve.review_server import address, alone
from flows.serve.server import HOST, free_port
from tasks.review.record import standing

from .browsed import BROWSER, needs_browser
from .review_world import RECIPE, items_of, reviewed_world
from .world import JUDGE, World, reworded

pytestmark = [pytest.mark.slow, needs_browser]
LOGIN = {"username": "solon", "password": "sesame"}
PATIENCE_MS = 120_000  # a busy machine takes longer than Playwright's half a minute


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return reviewed_world(tmp_path_factory.mktemp("review") / "home", prompts=40)


@pytest.fixture(scope="module")
def port(world: World) -> Iterator[int]:
    """The page alone, served as `solon review --web` does."""
    port = free_port()
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = ":".join(LOGIN.values())
    server = uvicorn.Server(uvicorn.Config(alone(world.workspace), HOST, port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield port
    server.should_exit = True
    thread.join()
    del os.environ["PREFECT_SERVER_API_AUTH_STRING"]


@pytest.fixture
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class Page:
    """A reviewer's page; the browser must have nothing to say of it, and it must fit."""

    def __init__(self, browser: Any, port: int, author: str, width: int, scheme: str) -> None:
        view = {"width": width, "height": 844}
        context = browser.new_context(
            viewport=view, color_scheme=scheme, http_credentials=LOGIN, has_touch=width < 500
        )
        context.set_default_timeout(PATIENCE_MS)
        self.view, self.width, self.name = context.new_page(), width, f"review-{width}-{scheme}"
        self.faults: list[str] = []
        self.view.on("console", lambda message: self.faults.append(message.text))
        self.view.goto(address(port, RECIPE, author))
        self.look("first")

    def look(self, name: str) -> None:
        assert self.view.evaluate("document.documentElement.scrollWidth") <= self.width
        assert self.faults == []
        if folder := os.environ.get("SOLON_SCREENSHOTS"):
            self.view.screenshot(path=Path(folder) / f"{self.name}-{name}.png")

    @property
    def subject(self) -> str:
        return str(self.view.locator("input[name=subject]").get_attribute("value"))

    def then(self, act: Any) -> None:
        """Do what leads to another pair, and wait for it, its keys included: the script that hears
        them runs when the page is whole."""
        before = self.view.locator("header b").inner_text() + self.subject
        act()
        self.view.wait_for_function(
            "before => document.readyState === 'complete'"
            " && document.querySelector('header b').innerText"
            " + (document.querySelector('input[name=subject]')?.value ?? '') !== before",
            arg=before,
        )

    def press(self, keys: str) -> None:
        for key in keys:
            self.then(lambda key=key: self.view.keyboard.press(key))

    def tap(self, name: str) -> None:
        button = self.view.locator("nav.keys").get_by_role("button", name=name)
        self.then(button.tap if self.width < 500 else button.click)


def said(world: World, author: str) -> list[tuple[str, bool]]:
    own = [verdict for verdict in standing(world.ledger) if verdict.author == author]
    return [(verdict.answer, verdict.edited is not None) for verdict in own]


def test_ten_verdicts_by_keys_then_rows_made_anew(browser: Any, port: int, world: World) -> None:
    page = Page(browser, port, "Ada", 1280, "light")
    page.press("abt")
    first = page.subject
    page.press("s")
    assert page.subject != first
    page.press("nabtn")
    undone = page.subject
    page.press("au")
    assert page.subject == undone
    page.view.keyboard.press("e")
    page.view.keyboard.press("a")
    area = page.view.locator("textarea[name=text_a]")
    page.view.keyboard.press("ControlOrMeta+A")
    page.view.keyboard.type("A better answer, said by hand.\nIn two lines.")
    assert "two lines" in area.input_value()
    page.look("edit")
    page.then(page.view.get_by_role("button", name="A is better, as edited").click)
    page.press("a")
    assert len(said(world, "Ada")) == 10
    assert sum(is_edited for _, is_edited in said(world, "Ada")) == 1

    inputs = world.read()
    assert {c["component"] for c in world.plan(inputs).why} == {"verdict"}
    world.run(inputs, engine=JUDGE)
    world.inputs = inputs
    used = {v.subject.principle_ids for v in standing(world.ledger)}
    slug = next(
        p.slug
        for item in items_of(world)
        for p in item.principles
        if item.subject.principle_ids in used and len(used) > 1
    )
    edited = world.edit(reworded(slug, "comparison"))
    world.run(edited, engine=JUDGE)
    stand = [v for v in standing(world.ledger) if v.answer in ("first", "second")]
    ids = {i.subject.subject_id for i in items_of(world, edited)}
    kept = {v.verdict_id for v in stand if v.subject.subject_id in ids}
    assert 0 < len(kept) <= len(stand)
    rows = world.ledger.query(
        "SELECT DISTINCT verdict_id FROM dataset_rows JOIN labels ON pair_id = row_id"
        " WHERE dataset_id = ? AND given_by = 'people'",
        [world.rows.preferences.dataset_id],
    )
    assert kept <= {row["verdict_id"] for row in rows}


def test_ten_verdicts_by_touch(browser: Any, port: int, world: World) -> None:
    page = Page(browser, port, "Bob", 390, "dark")
    for name in ("A is better", "B is better", "Tie", "Both bad", "Skip", "A is better"):
        page.tap(name)
    page.tap("Undo")
    for name in ("B is better", "Tie", "A is better", "B is better", "Both bad"):
        page.tap(name)
    page.view.locator("details.edit summary").last.tap()
    page.view.locator("textarea[name=text_b]").fill("Said on a phone.")
    page.look("edit")
    page.then(page.view.get_by_role("button", name="B is better, as edited").tap)
    assert len(said(world, "Bob")) == 10
    assert said(world, "Bob")[-1][1]
    page.view.locator("details.agreement summary").tap()
    assert "agreement:" in page.view.locator("details.agreement").inner_text()
    page.look("agreement")


def test_without_keys_of_its_own_nothing_is_lost(browser: Any, port: int, world: World) -> None:
    """Typing into the name is no verdict, and what is pressed with Ctrl is the browser's."""
    page = Page(browser, port, "Cyd", 1280, "dark")
    page.view.locator("details.who summary").click()
    page.view.locator("details.who input[name=by]").fill("")
    page.view.keyboard.type("abtn")
    page.view.keyboard.press("Escape")
    page.view.keyboard.press("Control+a")
    page.view.get_by_role("heading", name="Which answer").click()
    assert said(world, "Cyd") == []
