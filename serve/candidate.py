"""Whether a bundle can be served: a child process loads and probes it, within limits, before the service does.

    python -m serve.candidate FOLDER        # prints the SHA-256 of its manifest, or one line of error

A bundle that needs more memory or time than allowed, or that crashes what reads it, costs a child process and no more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from recsys.bundle import BundleError
from recsys.bundle.manifest import manifest_bytes, sha256_of
from recsys.files import read_regular, write_json
from serve.process.child import LONGEST_ERROR, Child, end_with_parent, last_line
from serve.settings import Settings

PATIENCE_SECONDS = 5.0  # beyond the time of a check, for another process that makes it
WITH_PARENT, GENTLY = "--with-parent", "--gently"
NICENESS = 5  # beside a service that answers: a third of its share where they compete


class Candidates:
    """Bundles checked so far: each is checked once a host, by whichever worker is first.

    Args:
        settings: With the limits of a check.
        shared: Folder of the verdicts, for several processes; None: for this one only.
    """

    def __init__(self, settings: Settings, shared: Path | None = None) -> None:
        self.settings, self.shared = settings, shared
        self._passed: set[tuple[Path, str]] = set()

    def check(self, folder: Path, sha256: str | None = None, *, fresh_seconds: float = 0.0) -> str:
        """The SHA-256 of the bundle's manifest, if the bundle with this manifest can be served.

        Args:
            folder: Of the bundle.
            sha256: That the manifest must have; None for any.
            fresh_seconds: For which another process's rejection holds: the bundle may still be being copied.

        Raises:
            BundleError: It is rejected.
        """
        found = sha256_of(manifest_bytes(folder, self.settings.budget))
        if sha256 not in (None, found):
            raise BundleError(f"{folder}/manifest.json is not the one wanted: its SHA-256 is {found}, not {sha256}")
        if (folder, found) in self._passed:
            return found
        with self._alone():
            if not self._passed_elsewhere(folder, found, fresh_seconds):
                self._check(folder, found)
        self._passed.add((folder, found))
        return found

    def _check(self, folder: Path, sha256: str) -> None:
        try:
            in_child(folder, sha256, self.settings, gently=bool(self._passed))
        except BundleError as error:
            self._write(folder, sha256, str(error))
            raise
        self._write(folder, sha256, None)

    def _verdict(self, folder: Path, sha256: str) -> Path | None:
        if self.shared is None:
            return None
        name = sha256_of(f"{sha256} {folder}".encode(errors="surrogateescape"))
        return self.shared / f"checked-{name}.json"

    def _write(self, folder: Path, sha256: str, error: str | None) -> None:
        if (file := self._verdict(folder, sha256)) is not None:
            with contextlib.suppress(OSError):  # then each worker checks it
                write_json(file, {"error": error})

    def _passed_elsewhere(self, folder: Path, sha256: str, fresh_seconds: float) -> bool:
        """Whether another process has found it good.

        Raises:
            BundleError: Another one has just rejected it.
        """
        if (file := self._verdict(folder, sha256)) is None:
            return False
        try:
            error = json.loads(read_regular(file, 1 << 16))["error"]
            age = time.time() - file.stat().st_mtime
        except (OSError, ValueError, LookupError, TypeError):
            return False
        if error is not None and 0 <= age < fresh_seconds:
            raise BundleError(str(error))
        return error is None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One check at a time, among the processes that share the folder."""
        try:
            import fcntl
        except ImportError:  # Windows: each worker checks for itself
            yield
            return
        if self.shared is None:
            yield
            return
        handle = os.open(self.shared / "check.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = time.monotonic() + self.settings.candidate_seconds + PATIENCE_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise BundleError("another worker's check of a bundle does not end") from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(handle)


def in_child(folder: Path, sha256: str, settings: Settings, *, gently: bool = False) -> None:
    """Load and probe the bundle in a process that has no socket, and ends with this one.

    Args:
        folder: Of the bundle.
        sha256: That its manifest must have.
        settings: With the limits.
        gently: Let others go first, such as a service that answers meanwhile.

    Raises:
        BundleError: It is rejected, or the process exceeded a limit or crashed.
    """
    arguments = [str(folder.absolute()), "--sha256", sha256, WITH_PARENT, *([GENTLY] if gently else [])]
    child = Child("serve.candidate", *arguments, settings=settings)
    try:
        told, errors = child.process.communicate(timeout=settings.candidate_seconds)
    except subprocess.TimeoutExpired:
        raise BundleError(too_slow(folder, settings)) from None
    finally:
        child.kill()
    status = child.process.returncode
    if status == 0 and told.decode(errors="replace").strip() == sha256:
        return
    said = last_line(errors)
    if status == 1 and said.startswith("error: "):
        raise BundleError(said.removeprefix("error: ")[:LONGEST_ERROR])
    if -status == getattr(signal, "SIGXCPU", None):
        raise BundleError(too_slow(folder, settings))
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    raise BundleError(
        f"{folder}: the process that checked it ended {how}, as one without enough memory does; "
        f"max_bundle_memory allows {settings.max_bundle_memory:,} bytes"
    )


def too_slow(folder: Path, settings: Settings) -> str:
    return f"{folder}: checking it took longer than candidate_seconds allows, {settings.candidate_seconds:g} s"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serve.candidate", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of a bundle")
    parser.add_argument("--sha256", help="that the manifest must have")
    parser.add_argument(WITH_PARENT, action="store_true", help="end once standard input is closed")
    parser.add_argument(GENTLY, action="store_true", help="let other processes go first")
    arguments = parser.parse_args()
    settings = Settings()
    if arguments.gently and sys.platform != "win32":
        os.nice(NICENESS)
    if arguments.with_parent:
        threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ["RUST_BACKTRACE"] = "0"  # which safetensors would make for want of memory, and hang for want of more
    import numpy as np

    from serve.models.served_model import ServedModel

    square = np.eye(64, dtype=np.float32)
    np.linalg.solve(square, square @ square)  # BLAS takes its buffers, without which it would end the process
    _limit(settings)
    try:
        print(ServedModel.load(arguments.folder, sha256=arguments.sha256, settings=settings).bundle.sha256)
    except BundleError as error:
        sys.exit(f"error: {' '.join(str(error).split())[:LONGEST_ERROR]}")
    except MemoryError:
        sys.exit(
            f"error: {arguments.folder}: checking it needs more memory than max_bundle_memory allows, "
            f"{settings.max_bundle_memory:,} bytes"
        )
    except Exception as error:
        sys.exit(f"error: {arguments.folder}: {type(error).__name__}: {' '.join(str(error).split())[:LONGEST_ERROR]}")


def _limit(settings: Settings) -> None:
    """Bound memory and processor time of this process, beyond what it has used so far."""
    try:
        import resource
    except ImportError:  # Windows: the time alone is bounded, by the parent
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + settings.candidate_seconds) + 1
    pages = 0
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + settings.max_bundle_memory
    for name, most in (("RLIMIT_AS", memory), ("RLIMIT_CPU", seconds), ("RLIMIT_CORE", 0)):
        _lower(getattr(resource, name), most)


def _lower(limit: int, most: int) -> None:
    import resource

    soft, hard = resource.getrlimit(limit)
    bounds = [most, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(limit, (min(bounds), hard))


if __name__ == "__main__":
    main()
