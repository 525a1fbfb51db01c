"""What finds the server's database busy is asked again in the server."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.serve import patient
from flows.serve.patient import Patient

from .conftest import HANG_S, ROOT

PARTS = [
    {"type": "http.request", "body": b"a", "more_body": True},
    {"type": "http.request", "body": b"b", "more_body": False},
]


def sent(statuses: list[int], method: str = "POST") -> tuple[list[Any], list[bytes]]:
    """What is answered to a request to which the application says these, and what it read."""
    answers, heard, told = iter(statuses), [], []
    parts = iter(PARTS)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(b"".join([(await receive())["body"] for _ in PARTS]))
        status = next(answers)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        if status == 503 and method == "POST" and len(heard) < 3:
            raise OSError("database is locked")  # as starlette does after its answer

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        told.append(message.get("status", message.get("body")))

    asyncio.run(Patient(app)({"type": "http", "method": method}, receive, send))
    return told, heard


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "_waits", lambda: iter([0.0, 0.0]))


def test_a_busy_database_is_asked_again_with_the_same_body() -> None:
    assert sent([503, 503, 201]) == ([201, b"x"], [b"ab"] * 3)
    assert sent([201]) == ([201, b"x"], [b"ab"])
    assert sent([409]) == ([409, b"x"], [b"ab"])


def test_what_stays_busy_is_said() -> None:
    assert sent([503, 503, 503]) == ([503, b"x"], [b"ab"] * 3)


def test_what_only_reads_is_left_alone() -> None:
    assert sent([503], "GET") == ([503, b"x"], [b"ab"])


AT_ONCE = """
import asyncio
from flows.serve.pages import create_app
from prefect.server.events import triggers
import sqlalchemy as sa

create_app()
READ, WRITE = sa.text("SELECT count(*) FROM rows"), sa.text("INSERT INTO rows VALUES (:name)")

async def evaluate(name):
    async with triggers.automations_session(begin_transaction=True) as session:
        await session.execute(READ)
        await asyncio.sleep(0.3)
        await session.execute(WRITE, {"name": name})

async def all_of_them():
    await asyncio.gather(*(evaluate(str(n)) for n in range(4)))
    async with triggers.automations_session() as session:
        print((await session.execute(READ)).scalar())

asyncio.run(all_of_them())
"""


def test_automations_that_write_at_once_wait_for_each_other(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as db:
        db.execute("CREATE TABLE rows (name)")
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE],
        env=os.environ
        | {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.stdout.split()[-1:] == ["4"], done.stderr[-2000:]


FROZEN = """
import asyncio, gc, sqlite3, sys
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

if "mended" in sys.argv:
    from flows.serve.patient import have_refused_cursors_closed

    have_refused_cursors_closed()
BEGIN = "BEGIN IMMEDIATE"
writer = sqlite3.connect(sys.argv[1], isolation_level=None)


async def main():
    engine = create_async_engine(f"sqlite+aiosqlite:///{sys.argv[1]}", pool_size=1, max_overflow=0)
    async with engine.connect() as con:
        await con.exec_driver_sql("PRAGMA busy_timeout = 50")
        writer.execute(BEGIN)
        refused = None
        try:
            await con.exec_driver_sql(BEGIN)
        except sa.exc.OperationalError as error:
            refused = error  # its traceback has the cursor
        await con.exec_driver_sql("PRAGMA busy_timeout = 6000")
        again = asyncio.ensure_future(con.exec_driver_sql(BEGIN))
        await asyncio.sleep(1)  # its thread waits for the writer now
        del refused  # in the event loop
        gc.collect()
        writer.execute("ROLLBACK")  # what the loop was to let go on
        await again
        print("begun")


asyncio.run(main())
"""


@pytest.mark.parametrize(("how", "end"), [("mended", "begun"), ("as it was", "locked")])
def test_the_event_loop_does_not_wait_for_a_refused_statement(
    tmp_path: Path, how: str, end: str
) -> None:
    """`as it was` shows what is mended: if it begins too, there is nothing to mend any more."""
    done = subprocess.run(
        [sys.executable, "-c", FROZEN, str(tmp_path / "some.db"), how],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    said = (done.stdout + done.stderr).split()
    assert end in said[-1] or end in done.stderr, done.stderr[-2000:]
    assert ("begun" in said) == (how == "mended")
