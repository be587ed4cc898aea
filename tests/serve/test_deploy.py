"""deploy/nginx.conf before a real service, by Debian's nginx."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load.service import free_port
from serve.settings import Settings
from tests.serve.conftest import KINDS, Served, save

ROOT = Path(__file__).parents[2]
NAME = "recommend.example.org"


def test_nginx_gives_connections_up_before_the_service_closes_them() -> None:
    """Closed while a POST is on its way, one is a 502: nobody may send it again."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    [kept] = re.findall(r"upstream recsys \{[^}]*keepalive_timeout (\d+)s;", text)
    assert int(kept) <= Settings.model_fields["idle_seconds"].default - 5


class Site:
    """nginx with the configuration, on free ports, and the service behind it."""

    def __init__(self, folder: Path, served: Served) -> None:
        self.folder, self.served, self.plain, self.secure = folder, served, free_port(), free_port()
        certificate(folder)
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        for old, new in (
            ("listen 80;", f"listen 127.0.0.1:{self.plain};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.secure} ssl;"),
            ("127.0.0.1:8000", served.url.removeprefix("http://")),
            (f"/etc/ssl/certs/{NAME}.pem", str(folder / "certificate.pem")),
            (f"/etc/ssl/private/{NAME}.key", str(folder / "private.key")),
        ):
            assert text.count(old) == 1
            text = text.replace(old, new)
        paths = "".join(f"{kind}_temp_path {folder};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body"))
        (folder / "nginx.conf").write_text(
            f"pid {folder}/pid; error_log stderr; worker_processes 1; events {{}}"
            f" http {{ access_log off; {paths} {text} }}"
        )

    def start(self) -> subprocess.Popen[bytes]:
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        process = subprocess.Popen([nginx, "-p", str(self.folder), "-c", "nginx.conf", "-g", "daemon off;"])
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.secure), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        return process

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        context = ssl.create_default_context(cafile=str(self.folder / "certificate.pem"))
        with socket.create_connection(("127.0.0.1", self.secure), 5) as plain:
            connection = http.client.HTTPSConnection(NAME, timeout=5)
            connection.sock = context.wrap_socket(plain, server_hostname=NAME)
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"} | headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", f"/CN={NAME}", "-days", "2",
         "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", "private.key", "-out", "certificate.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def site(serve: Callable[..., Served], tmp_path: Path) -> Iterator[Site]:
    if not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()):
        pytest.skip("needs nginx: apt-get install nginx-light")
    served = serve(
        "--bundle", str(save(KINDS["str"](), tmp_path / "bundle")), "--trusted-proxies", "127.0.0.1",
        "--allowed-hosts", NAME, "--insecure", "--rate-limit", "20/minute",
    )  # fmt: skip
    found = Site(tmp_path, served)
    process = found.start()
    try:
        yield found
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.services
def test_the_service_behind_nginx(site: Site) -> None:
    status, headers, body = site.ask("GET", "/users/a%2Fb/recommendations?k=3")
    assert status == 200
    assert len(json.loads(body)["recommendations"]) == 3
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" in headers
    assert error_of(site.ask("GET", "/metrics")) == (404, "not_found")
    assert error_of(site.ask("POST", "/predict/rating/", {"user_id": "x" * 2_000_000, "item_id": "7"})) == (
        413,
        "body_too_large",
    )
    plain = http.client.HTTPConnection("127.0.0.1", site.plain, timeout=5)
    plain.request("GET", "/docs", headers={"Host": NAME})
    moved = plain.getresponse()
    assert (moved.status, moved.getheader("location")) == (301, f"https://{NAME}/docs")
    assert moved.getheader("server") == "nginx"
    site.served.process.kill()
    site.served.process.wait(10)
    answer = site.ask("GET", "/health/ready")
    assert error_of(answer) == (503, "not_ready")
    assert answer[1]["retry-after"] == "1"


def error_of(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    """Status and code of an error, which clients read as JSON whether nginx or the service sends it."""
    status, headers, body = answer
    assert headers["content-type"] == "application/json"
    found = json.loads(body)
    assert found.keys() == {"detail", "code"}
    return status, found["code"]


@pytest.mark.services
def test_nobody_hides_behind_a_forged_address(site: Site) -> None:
    """Each request claims to come from elsewhere; nginx says where from, and the service believes nginx alone."""
    forged = [site.ask("GET", "/items", **{"X-Forwarded-For": f"203.0.113.{n}"})[0] for n in range(30)]
    assert forged[:10] == 10 * [200]
    assert forged[-1] == 429
