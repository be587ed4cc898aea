"""Who runs a command."""

from __future__ import annotations

import getpass
import os


def account() -> str:
    """The name of the account, or its number where it has no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the latter from Python 3.13 on
        return f"uid {os.getuid()}"
