"""Container health check: `python -m serve.health` exits with 0 if the service on this host is ready, else 1.

It asks on the operations port, where there is one: nothing is refused there, however busy the service is.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import urlopen

MOST = 65_536  # bytes of an answer


def main() -> None:
    port = os.environ.get("RECSYS_OPERATIONS_PORT") or os.environ.get("RECSYS_PORT") or "8000"
    address = f"http://127.0.0.1:{port}/health/ready"
    try:
        with urlopen(address, timeout=2):
            pass
    except HTTPError as error:
        sys.exit(f"{address}: {error.code}: {_detail(error)}")
    except (OSError, HTTPException) as error:  # URLError is one
        sys.exit(f"{address}: {error}")


def _detail(error: HTTPError) -> str:
    """The reason that the service gives, which `docker inspect` then shows."""
    try:
        return str(json.loads(error.read(MOST))["detail"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return error.reason


if __name__ == "__main__":
    main()
