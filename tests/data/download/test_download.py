from __future__ import annotations

import hashlib
import http.server
import io
import re
import ssl
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recsys.data.download import download
from recsys.data.download import recbole_mirror as wheel
from recsys.data.download.download import ARCHIVES, Archive
from recsys.data.sources import DataError, MovieLens
from recsys.data.sources.movielens import RELEASES

Write = Callable[..., Path]


class Server(http.server.ThreadingHTTPServer):
    """Sends what `contents` holds by path, and counts the requests."""

    contents: dict[str, bytes]
    length: int | None  # what it says, if that is not the true length
    requests: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        body = self.server.contents.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """GroupLens on this machine; every other source fails at once."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.contents, server.length, server.requests = {}, None, 0
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(download, "GROUPLENS", server.address)
        monkeypatch.setattr(wheel, "extract", no_wheel)
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(proxy, raising=False)
        yield server
        server.shutdown()
        thread.join()


def no_wheel(folder: Path) -> None:
    raise DataError("no index here")


@pytest.fixture
def offer(server: Server, write_release: Write, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Puts a small release on the server, with its checksum as the one that is known."""

    def put(name: str, sha256: str | None = None) -> bytes:
        folder = write_release(name)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as file:
            for path in folder.iterdir():
                file.write(path, f"{ARCHIVES[name].folder}/{path.name}")
        body = packed.getvalue()
        known = sha256 or hashlib.sha256(body).hexdigest()
        monkeypatch.setitem(ARCHIVES, name, Archive(ARCHIVES[name].folder, known))
        server.contents[f"/{name}.zip"] = body
        return body

    return put


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.name not in (*RELEASES, "parsed", ".lock")]


@pytest.mark.parametrize("name", RELEASES)
def test_every_release_is_fetched_once(
    name: str, offer: Callable[..., bytes], server: Server, cache: Path, tmp_path: Path
) -> None:
    offer(name)
    source = MovieLens(name)
    source.prepare()
    source.prepare()
    fetched = MovieLens(name).read()
    assert server.requests == 1
    local = MovieLens(name, root=str(tmp_path / name)).read()
    assert fetched.ratings.equals(local.ratings)
    assert sorted(path.name for path in (cache / name).iterdir()) == sorted(RELEASES[name].files)
    assert leftovers(cache) == []


def test_every_release_but_one_has_a_sha256() -> None:
    assert set(ARCHIVES) == set(RELEASES)
    assert [name for name, archive in ARCHIVES.items() if archive.sha256 is None] == ["ml-32m"]


def test_a_release_without_a_known_sha256_is_not_downloaded(server: Server, cache: Path) -> None:
    with pytest.raises(DataError) as failure:
        MovieLens("ml-32m").prepare()
    message = str(failure.value)
    assert "no SHA-256 of it is known, so a download could not be verified" in message
    assert (
        f"Download {server.address}/ml-32m.zip with a browser, extract it and pass its folder as data.root=" in message
    )
    assert server.requests == 0
    assert leftovers(cache) == []


def test_read_fetches_what_prepare_did_not(offer: Callable[..., bytes]) -> None:
    offer("ml-1m")
    assert len(MovieLens("ml-1m").read().ratings) == 4


def test_a_file_missing_in_the_cache_is_fetched_again(offer: Callable[..., bytes], server: Server, cache: Path) -> None:
    offer("ml-1m")
    MovieLens("ml-1m").prepare()
    (cache / "ml-1m" / "movies.dat").unlink()
    MovieLens("ml-1m").prepare()
    assert (cache / "ml-1m" / "movies.dat").is_file()
    assert server.requests == 2


def test_a_wrong_checksum(offer: Callable[..., bytes], cache: Path) -> None:
    offer("ml-1m", sha256="0" * 64)
    with pytest.raises(DataError, match=r"sha256 of archive.zip must be 000.*, got [0-9a-f]+"):
        MovieLens("ml-1m").prepare()
    assert leftovers(cache) == []


def test_an_answer_that_ends_early(offer: Callable[..., bytes], server: Server, cache: Path) -> None:
    size = len(offer("ml-1m"))
    server.length = size + 1000
    with pytest.raises(DataError, match=rf"ml-1m.zip ended after {size} of {size + 1000} bytes"):
        MovieLens("ml-1m").prepare()
    assert leftovers(cache) == []


def test_an_answer_that_does_not_end(offer: Callable[..., bytes], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer("ml-1m")
    monkeypatch.setattr(download, "LARGEST_ARCHIVE", 100)
    with pytest.raises(DataError, match=r"ml-1m.zip must have at most 100 bytes, got more"):
        MovieLens("ml-1m").prepare()
    assert leftovers(cache) == []


def test_a_failure_says_what_was_tried_and_what_can_be_done(server: Server) -> None:
    with pytest.raises(DataError) as failure:
        MovieLens("ml-100k").prepare()
    message = str(failure.value)
    assert "ml-100k could not be downloaded. Tried:" in message
    assert f"{server.address}/ml-100k.zip: HTTP Error 404" in message
    assert "recbole==1.2.1 from the Python package index: no index here" in message
    assert "data.root=<folder>" in message
    assert "HTTPS_PROXY" in message


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "GROUPLENS", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/ml-1m.zip: .*refused"):
        MovieLens("ml-1m").prepare()


def test_an_expired_certificate_is_refused_and_said(
    offer: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    offer("ml-1m")
    opened: list[dict[str, Any]] = []

    def expired(url: str, **options: Any) -> None:
        opened.append(options)
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_message = "certificate has expired"
        raise urllib.error.URLError(error)

    monkeypatch.setattr(urllib.request, "urlopen", expired)
    with pytest.raises(DataError) as failure:
        MovieLens("ml-1m").prepare()
    message = str(failure.value)
    assert "the server's certificate cannot be verified (certificate has expired)" in message
    assert "with a browser, extract it and pass its folder as data.root=<folder>" in message
    assert [options.get("context") for options in opened] == [None]  # once, and verified
    assert leftovers(cache) == []


def test_nothing_anywhere_switches_verification_off() -> None:
    root = Path(__file__).parents[3]
    files = [file for folder in ("recsys", "serve", "benchmarks", ".ci") for file in (root / folder).rglob("*")]
    files += [root / "Makefile", root / "Dockerfile", *(root / ".github").rglob("*.yml"), root / "requirements/install"]
    switches = re.compile(rb"_create_unverified|CERT_NONE|check_hostname|trusted-host|no-check-certificate")
    texts = (file for file in files if file.suffix in ("", ".py", ".yml", ".sh") and file.is_file())
    assert [file for file in texts if switches.search(file.read_bytes())] == []


def test_several_at_once_all_end_well(offer: Callable[..., bytes], cache: Path) -> None:
    offer("ml-1m")
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(lambda _: MovieLens("ml-1m").read().ratings, range(8)))
    assert all(frame.equals(frames[0]) for frame in frames)
    assert leftovers(cache) == []
    assert [path for path in (cache / "parsed").iterdir() if path.name.startswith(".")] == []


def test_a_cache_that_cannot_be_written(offer: Callable[..., bytes], cache: Path) -> None:
    offer("ml-1m")
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"ml-1m could not be downloaded. Tried:\n.*File exists"):
        MovieLens("ml-1m").prepare()


def test_a_bar_is_drawn_on_a_terminal_only(
    offer: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer("ml-1m")
    MovieLens("ml-1m").prepare()
    assert capsys.readouterr().err == ""
    offer("ml-10m")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    MovieLens("ml-10m").prepare()
    assert "ml-10m.zip" in capsys.readouterr().err
