"""Keep a run's own server up: one that dies is started anew on its port, and the run goes on.

Prefect's client looks for a lost server for a minute at each of a run's many requests; a new
client, as a slot's, does not try twice: `wait_until_up` is for what comes before.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException

from storage.errors import SolonError

POLL_S = 0.2
STOP_WAIT_S = 8.0
UP_WAIT_S = 60.0
ANSWER_WAIT_S = 5.0
STARTS = 3

Server = subprocess.Popen[bytes]


@contextmanager
def kept_up(server: Server, start: Callable[[], Server]) -> Iterator[None]:
    """Call `start` whenever the server is dead in the block, STARTS times at most.

    Raises SolonError where the block ends because there was no server to ask.
    """
    is_over = threading.Event()

    def keep() -> None:
        """What this thread starts dies with it (see tasks.process), so it is ended here."""
        now, started = server, 0
        while not is_over.wait(POLL_S):
            if now.poll() is not None and started < STARTS:
                now, started = start(), started + 1
        if started and now.poll() is None:
            end(now)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    except Exception as error:
        import httpx  # slow to load

        if not isinstance(error, httpx.TransportError):
            raise
        raise SolonError("the run's Prefect server went away; run again") from error
    finally:
        is_over.set()
        keeper.join()


def wait_until_up() -> None:
    """Return once the server in force answers, after UP_WAIT_S whatever it does."""
    url, deadline = os.environ.get("PREFECT_API_URL"), time.monotonic() + UP_WAIT_S
    while url and not answers(url) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def answers(url: str) -> bool:
    """Whether there is a server behind the API's address."""
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=ANSWER_WAIT_S).close()
    except urllib.error.HTTPError:
        return True  # it wants a login there
    except (OSError, ValueError, HTTPException):
        return False
    return True


def end(server: Server) -> None:
    """Terminate a server; kill it where it does not end within STOP_WAIT_S."""
    server.terminate()
    try:
        server.wait(STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
