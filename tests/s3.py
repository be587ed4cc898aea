"""An S3 server of the tests' own: moto's, in this process."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator

import pytest

BUCKET = "shop"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty bucket, on a server that the environment names."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
    given = {"ACCESS_KEY_ID": "ours", "SECRET_ACCESS_KEY": "s3cret-word", "DEFAULT_REGION": "us-east-1"}
    for name, value in (given | {"ENDPOINT_URL": url}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/versions"
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()
