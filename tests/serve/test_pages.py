"""What the page and the documentation are served as; tests/serve/test_page.py opens them in a browser."""

from __future__ import annotations

import re

import pytest

from serve import pages
from tests.serve.conftest import CheckedClient

PAGES = ["/", "/docs"]
FILES = sorted(path.name for path in pages.PAGE.iterdir() if path.suffix != ".html")


@pytest.mark.parametrize("path", [*PAGES, *(f"/page/{name}" for name in FILES), "/page/swagger-ui.css"])
def test_files_come_with_a_policy_and_are_not_sent_twice(client: CheckedClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for one in (answer, again, client.head(path)):
        assert one.headers.get_list("content-security-policy") == [pages.TYPED if path == "/" else pages.POLICY]
        assert one.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", PAGES)
def test_what_a_page_loads_is_there_and_of_this_service(client: CheckedClient, path: str) -> None:
    text = client.get(path).text
    links = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert links
    for link in links:
        assert client.get(f"/{link}").status_code == 200, link
    assert not re.search(r"<script(?! [^>]*src=)|<style|\son\w+=|\sstyle=|javascript:", text)  # the policy forbids them


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_scripts_put_texts_in_as_texts_only(name: str) -> None:
    script = (pages.PAGE / name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", script)


@pytest.mark.parametrize(
    "path",
    ["/redoc", "/docs/oauth2-redirect", "/page/__init__.py", "/page/index.html/x", "/page/favicon-32x32.png",
     "/page/swagger-ui.css/..", "/page/%00", "/page/" + "x" * 5000],
)  # fmt: skip
def test_nothing_else_is_served(client: CheckedClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_missing_swagger_ui_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="fastapi-swagger, which has the files of /docs, is not installed"):
        pages.page_routes()
