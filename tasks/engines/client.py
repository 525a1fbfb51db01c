"""Requests over HTTP to one of several OpenAI-compatible servers, asked again where that may help.

429 and whatever says `Retry-After` makes a server wait; 408, 409, 5xx, half an answer, a dropped
connection and silence are failures, after which the request goes elsewhere or waits; any other
status ends the request. The key goes into one header and nowhere else: what a server says is shown
without it, should it repeat it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from storage.errors import SolonError
from tasks.engines.servers import Server, Servers
from tasks.engines.wire import Broken, Busy, Json, Refused

T = TypeVar("T")
CONNECT_S = 10.0
LONGEST_WAIT_S = 3600.0  # that `Retry-After` may ask for
SHOWN = 200  # characters of what a server says


@dataclass(frozen=True)
class Access:
    """How servers are reached. `key` is never shown; `pace_s` as in `Servers`; `is_own`: it is on
    this machine, past any proxy.
    """

    base_urls: tuple[str, ...]
    key: str | None = field(default=None, repr=False)
    concurrency: int = 16
    timeout_s: float = 300.0
    retries: int = 10
    pace_s: float = 1.0
    is_own: bool = False


class Client:
    """Asks servers from within one event loop."""

    def __init__(self, access: Access, say: Callable[[str], None]) -> None:
        self.access = access
        self.servers = Servers(
            access.base_urls, access.concurrency, access.retries, access.pace_s, say
        )
        most = access.concurrency * len(access.base_urls)
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {access.key}"} if access.key else {},
            timeout=httpx.Timeout(
                access.timeout_s, connect=min(CONNECT_S, access.timeout_s), pool=None
            ),
            limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
            trust_env=not access.is_own,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, path: str, body: Json, read: Callable[[Json], T]) -> T:
        """What `read` makes of the answer of whichever server gives one.

        `read` raises Broken for half an answer. Raises Refused; SolonError where no server is left
        or the request failed `retries` times; Stopped where the call ends.
        """
        failures, last = 0, None
        while True:
            server = await self.servers.take(last)
            try:
                found = read(await self.send(server.url, path, body))
            except Busy as error:
                self._wait(server, error)
            except Broken as error:
                self.servers.failed(server, error)
                last = server
                failures += not server.is_on_trial  # else it is the server, not the request
                if failures > self.access.retries:
                    raise SolonError(self._given_up(server, failures, error)) from None
            else:
                self.servers.succeeded(server)
                return found
            finally:
                self.servers.give_back(server)
            if last:
                await asyncio.sleep(self.servers.backoff(max(failures, 1)))

    async def send(self, url: str, path: str, body: Json | None = None) -> Json:
        """The JSON that one server answers. Raises Busy, Broken, Refused."""
        method = "GET" if body is None else "POST"
        try:
            async with asyncio.timeout(self.access.timeout_s):
                response = await self._http.request(method, url + path, json=body)
        except (TimeoutError, httpx.TimeoutException):
            raise Broken(f"no answer within {self.access.timeout_s:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Broken(self._clean(str(error)) or type(error).__name__) from None
        if response.status_code != 200:
            raise self._problem(response)
        try:
            found = response.json()
        except (ValueError, RecursionError):
            raise Broken("an answer that is no JSON") from None
        if not isinstance(found, dict):
            raise Broken("an answer that is no object")
        return found

    def _wait(self, server: Server, error: Busy) -> None:
        if error.wait_s is not None and error.wait_s > LONGEST_WAIT_S:
            self.servers.lose(server, f"asks to wait {error.wait_s:.0f} s ({error})")
        else:
            self.servers.pause(server, error)

    def _problem(self, response: httpx.Response) -> Exception:
        """What a status other than 200 means."""
        status, (message, code) = response.status_code, _error(response)
        message, code = self._clean(message), self._clean(code)
        shown = f"{status} {message}".strip()
        wait_s = _retry_after(response.headers.get("retry-after"))
        if status == 429 and code == "insufficient_quota":
            return Refused(status, message, code)
        if status == 429 or (wait_s is not None and status >= 500):
            return Busy(wait_s, shown)
        if status in (408, 409) or status >= 500:
            return Broken(shown)
        return Refused(status, message, code)

    def _clean(self, text: str) -> str:
        """A text of others on one line, not too long, without the key."""
        if self.access.key:
            text = text.replace(self.access.key, "***")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."

    def _given_up(self, server: Server, failures: int, error: Broken) -> str:
        told = f"a request failed {failures} times, at last at {server.url} ({error})"
        return f"{told}; what came is kept: see the server's log and run again"


def _error(response: httpx.Response) -> tuple[str, str]:
    """(message, code) of an error, as OpenAI and others write it."""
    try:
        body: Any = response.json()
    except (ValueError, RecursionError):
        return response.text[: 4 * SHOWN], ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return str(error)[: 4 * SHOWN], ""
    message = error.get("message") or error.get("detail") or ""
    return str(message)[: 4 * SHOWN], str(error.get("code") or error.get("type") or "")


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait: `Retry-After` is a number of them or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
