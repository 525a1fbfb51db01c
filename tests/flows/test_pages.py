"""The workspace's own pages: behind the login, and nothing but reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from flows.serve.pages import pages
from storage.workspace import Workspace

LOGIN = ("solon", "sesame")
REPORT = f"evl_{'0' * 32}"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", ":".join(LOGIN))
    folder = tmp_path / "reports" / REPORT
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<h1 dir='auto'>DPO &lt;b&gt; keeps more</h1>")
    (tmp_path / "reports" / "mine").mkdir()
    (tmp_path / "reports" / "mine" / "report.html").write_text("<h1>Not ours</h1>")
    (tmp_path / "report.html").write_text("<h1>Outside</h1>")
    return TestClient(pages(Workspace(tmp_path)))


def test_reports_are_listed_by_their_own_titles(client: TestClient) -> None:
    listed = client.get("/", auth=LOGIN)
    assert f'<a href="/solon/reports/{REPORT}">DPO &lt;b&gt; keeps more</a>' in listed.text
    assert "Not ours" not in listed.text
    report = client.get(f"/reports/{REPORT}", auth=LOGIN)
    assert report.text.startswith("<h1")
    for page in (listed, report):
        assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_principles_are_shown_in_their_words(client: TestClient) -> None:
    shown = client.get("/principles", auth=LOGIN)
    assert "<h2>demo</h2>" in shown.text
    assert "<h3>sixty-words</h3>" in shown.text
    assert "<dt>critique</dt><dd>" in shown.text


@pytest.mark.parametrize("path", ["/", f"/reports/{REPORT}", "/reports/none", "/principles"])
@pytest.mark.parametrize("login", [None, ("solon", "sésame"), ("", ""), ("sésame", "solon")])
def test_nothing_is_shown_without_the_login(
    client: TestClient, path: str, login: tuple[str, str] | None
) -> None:
    answer = client.get(path, auth=login)
    assert answer.status_code == 401
    assert "keeps" not in answer.text


@pytest.mark.parametrize("name", ["mine", "%2e%2e", f"{REPORT}%2f..", f"evl_{'1' * 32}"])
def test_nothing_else_is_shown(client: TestClient, name: str) -> None:
    assert client.get(f"/reports/{name}", auth=LOGIN).status_code == 404
