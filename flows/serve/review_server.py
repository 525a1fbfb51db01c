"""The page alone, where `solon serve` does not run: on the loopback, with a login drawn anew."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI
from rich.console import Console

from flows.run.publish import PAGES
from flows.serve.pages import pages
from flows.serve.server import HOST, free_port
from storage.workspace import Workspace


def address(port: int, recipe: str, author: str) -> str:
    place = urlencode({"recipe": recipe, "by": author})
    return f"http://{HOST}:{port}{PAGES}/review?{place}"


def serve_reviews(workspace: Workspace, recipe: str, author: str, console: Console) -> None:
    """Until Ctrl-C."""
    port = free_port()
    login = f"solon:{secrets.token_urlsafe(18)}"
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = login
    for line in (
        f"page      {address(port, recipe, author)}",
        f"login     {login}",
        "stop      Ctrl-C",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    options = uvicorn.Config(alone(workspace), HOST, port, log_level="warning")
    with suppress(KeyboardInterrupt):
        uvicorn.Server(options).run()


def alone(workspace: Workspace) -> FastAPI:
    """The workspace's pages where Prefect's server has them as well."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount(PAGES, pages(workspace))
    return app
