"""Container health check: `python -m serve.health` exits with 0 if the service on this host is ready, else 1."""

from __future__ import annotations

import os
import sys
from urllib.request import urlopen


def main() -> None:
    address = f"http://127.0.0.1:{os.environ.get('RECSYS_PORT', '8000')}/health/ready"
    try:
        with urlopen(address, timeout=2):
            pass
    except OSError as error:  # URLError is one
        sys.exit(f"{address}: {error}")


if __name__ == "__main__":
    main()
