"""What finds the server's database busy waits in the server.

SQLite has one writer at a time. To a request that comes between, Prefect answers 503 at once, and
leaves it to the client to ask again; Prefect's own clients do, a browser's form does not. Nothing
was written then, so the same request is made again here, a little later each time.

Automations read a row of theirs and then write it. In a transaction that begins as a reader's
SQLite refuses that at once where another wrote meanwhile, and Prefect gives an event up after four
tries: it lies in a folder (`dlq`) for ever, and the automation never hears that a run has ended.
One that begins as a writer's waits.

A statement that SQLite refused stays with its cursor, the cursor with the error's traceback. Who
lets go of that resets the statement, and waits for whatever its connection does meanwhile. That was
the event loop, and the connection, used again, waited for the writer, which the loop was to let go
on: for the minute that SQLite waits nothing was answered, and the error that ended it was the next
one's cause. A cursor that was refused is closed at once, by the thread that asked.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

BUSY = 503
LONGEST_S = 30.0  # of all waits together; what is busy for so long is said


class Patient:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        body, waits = await _read(receive), _waits()
        while True:
            is_busy = await self._attempt(scope, body, receive, send, wait := next(waits, None))
            if not is_busy or wait is None:
                return
            await asyncio.sleep(wait)

    async def _attempt(
        self, scope: Scope, body: list[Message], receive: Receive, send: Send, wait: float | None
    ) -> bool:
        """Make the request; whether it found the database busy, which is sent on the last time."""
        parts, is_busy = iter(body), False

        async def again() -> Message:
            return next(parts, None) or await receive()

        async def answer(message: Message) -> None:
            nonlocal is_busy
            if message["type"] == "http.response.start":
                is_busy = message["status"] == BUSY
            if not is_busy or wait is None:
                await send(message)

        try:
            await self.app(dict(scope), again, answer)
        except Exception:  # which starlette raises again once it has answered
            if not is_busy or wait is None:
                raise
        return is_busy


def have_automations_wait() -> None:
    """From now on, in this process."""
    from prefect.server.events import triggers

    triggers.automations_session = _writing  # type: ignore[assignment]


def have_refused_cursors_closed() -> None:
    """From now on, in this process: those of aiosqlite, by which Prefect reaches its database."""
    from aiosqlite.cursor import Cursor

    Cursor._execute = _execute  # type: ignore[method-assign, assignment]


async def _execute(self: Any, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """As aiosqlite's: the call is made in the thread of the cursor's connection."""
    cursor = self._cursor

    def tried() -> Any:
        try:
            return call(*given, **named)
        except sqlite3.Error:
            cursor.close()
            raise

    return await self._conn._execute(tried)


@asynccontextmanager
async def _writing(begin_transaction: bool = False) -> AsyncIterator[AsyncSession]:
    """As Prefect's `automations_session`, but a transaction begins as a writer's."""
    from prefect.server.database import provide_database_interface

    context = provide_database_interface().session_context(
        begin_transaction=begin_transaction, with_for_update=begin_transaction
    )
    async with context as session:
        yield session


async def _read(receive: Receive) -> list[Message]:
    parts = [await receive()]
    while parts[-1].get("more_body"):
        parts.append(await receive())
    return parts


def _waits() -> Iterator[float]:
    """Longer each time, and of no two requests the same."""
    total, longest = 0.0, 0.05
    while total < LONGEST_S:
        wait = random.uniform(longest / 2, longest)
        yield wait
        total, longest = total + wait, min(longest * 2, 2.0)
