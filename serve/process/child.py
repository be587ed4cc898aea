"""Child processes of the service: without its socket and figures, and never alive for longer than it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from serve.settings import Settings

PACKAGES = Path(__file__).parents[2]
LONGEST_ERROR = 2_000  # characters of what a child says


class Child:
    """A process of `python -m MODULE`, which must call `end_with_parent`.

    Args:
        module: To run.
        *arguments: Its arguments.
        settings: That it reads from its environment.
    """

    def __init__(self, module: str, *arguments: str, settings: Settings) -> None:
        environment = os.environ | settings.environment() | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        paths = [str(PACKAGES), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        theirs, self._ours = os.pipe()  # whose end here is closed with this process, however that ends
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            )  # fmt: skip
        except OSError:
            os.close(self._ours)
            raise
        finally:
            os.close(theirs)

    def kill(self) -> None:
        """End it, and do not wait for long: it may hang in a file system."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait(1)
        with contextlib.suppress(OSError):
            os.close(self._ours)
        self._ours = -1


def end_with_parent() -> None:
    """Wait until the parent has ended, and end then: in a thread of a child."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)


def last_line(errors: bytes) -> str:
    """The last line of what a child wrote to its standard error."""
    return errors.decode(errors="replace").strip().rpartition("\n")[2]
