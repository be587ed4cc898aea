"""Container health check: `python -m serve.health` exits with 0 if the service on this host is ready, else 1.

It asks on the operations port, where there is one: nothing is refused there, however busy the service is.
"""

from __future__ import annotations

import os
import sys
from urllib.request import urlopen


def main() -> None:
    port = os.environ.get("RECSYS_OPERATIONS_PORT") or os.environ.get("RECSYS_PORT") or "8000"
    address = f"http://127.0.0.1:{port}/health/ready"
    try:
        with urlopen(address, timeout=2):
            pass
    except OSError as error:  # URLError is one
        sys.exit(f"{address}: {error}")


if __name__ == "__main__":
    main()
