"""Prefect's server with the workspace's own pages beside it, behind the same login.

    /solon/                 the reports, the newest first
    /solon/reports/ID       one of them
    /solon/principles       the principles of every recipe, in their words of now
    /solon/review           pairs that people review: of which recipe, then one after the other

Prefect's artifacts show no page of HTML, and a browser opens no file from a server's page.
"""

from __future__ import annotations

import os
import re
import secrets
from html import escape
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from starlette.routing import Mount

from flows.explain.document.page import POLICY
from flows.explain.document.style import CSS
from flows.run.publish import PAGES
from flows.serve import offered, review_pages
from flows.serve.patient import Patient, have_automations_wait, have_refused_cursors_closed
from storage.report_files import whole_page
from storage.workspace import Workspace

ID = re.compile(r"[a-z]{3}_[0-9a-f]{32}")
TITLE = re.compile(r"<h1[^>]*>(.*?)</h1>", re.S)
SAFE = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app() -> FastAPI:
    """What uvicorn serves: Prefect's application, ours before it at `PAGES`."""
    from prefect.server.api.server import create_app as prefects

    app = prefects()
    own = pages(Workspace(Path(os.environ["PREFECT_HOME"]).parent))
    app.router.routes.insert(0, Mount(PAGES, own))
    app.add_middleware(Patient)
    have_automations_wait()
    have_refused_cursors_closed()
    return app


def pages(workspace: Workspace) -> FastAPI:
    app = FastAPI(dependencies=[Depends(_logged_in)], docs_url=None, redoc_url=None)

    @app.get("/")
    def reports() -> HTMLResponse:
        return HTMLResponse(_listed(workspace), headers=SAFE)

    @app.get("/principles")
    def principles() -> HTMLResponse:
        return HTMLResponse(_principles(), headers=SAFE)

    @app.get("/reports/{name}")
    def report(name: str) -> HTMLResponse:
        folder = workspace.reports / name
        if not ID.fullmatch(name) or not folder.is_dir():
            raise HTTPException(404, "no such report in this workspace")
        page = whole_page(folder)
        if page is None:
            raise HTTPException(404, f"not as it was written: solon report {name} writes it again")
        return HTMLResponse(page.read_text(encoding="utf-8"), headers=SAFE)

    review_pages.add_to(app, workspace)

    return app


def _logged_in(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic(realm="Solon"))]) -> None:
    wanted = os.environ["PREFECT_SERVER_API_AUTH_STRING"].encode()
    if not secrets.compare_digest(f"{given.username}:{given.password}".encode(), wanted):
        raise HTTPException(401, "wrong login", {"WWW-Authenticate": 'Basic realm="Solon"'})


def _listed(workspace: Workspace) -> str:
    """The list of reports as a page: each by its own title, which it holds escaped."""
    found = (p for p in workspace.reports.glob("*/report.html") if ID.fullmatch(p.parent.name))
    newest = sorted(found, key=lambda page: page.stat().st_mtime, reverse=True)
    lines = "".join(
        f'<li><a href="{PAGES}/reports/{page.parent.name}">{_title(page)}</a></li>\n'
        for page in newest
    )
    listed = f"<ul>\n{lines}</ul>\n{'' if lines else '<p>None yet.</p>'}"
    words = f'<p><a href="{PAGES}/principles">The principles, in their words of now</a></p>\n'
    words += f'<p><a href="{PAGES}/review">Review pairs</a></p>\n'
    return _page("Reports", f"<p>{escape(str(workspace.root))}</p>\n{listed}{words}")


def _principles() -> str:
    """The principles of every recipe: what a form's edit changes."""
    parts = []
    for recipe, (name, words) in offered.constitutions().items():
        parts.append(f"<h2>{escape(recipe)}</h2>\n<p>constitution {escape(name)}</p>\n")
        for principle in words.principles:
            texts = "".join(
                f"<dt>{field}</dt><dd>{escape(getattr(principle, field))}</dd>\n"
                for field in ("title", "critique", "revision", "comparison")
                if getattr(principle, field)
            )
            parts.append(f"<h3>{escape(principle.slug)}</h3>\n<dl>\n{texts}</dl>\n")
    return _page("Principles", "".join(parts) or "<p>No recipe can be read.</p>\n")


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Solon: {title.lower()}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )


def _title(page: Path) -> str:
    found = TITLE.search(page.read_text(encoding="utf-8"))
    return found[1].strip() if found else page.parent.name
