from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from benchmarks.killing import after, killed

pytestmark = pytest.mark.long

PARENT = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()"


def start(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_process_is_killed_with_what_it_started() -> None:
    with start(PARENT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert killed(process.pid, lambda: process.poll() is None, after(0))
        assert process.wait() == -signal.SIGKILL
        assert process.stdout.read() == b"", "the other process, which has the same output, is gone too"


def test_a_process_that_ends_before_is_not_killed() -> None:
    with start("") as process:
        assert not killed(process.pid, lambda: process.poll() is None, after(60))
        assert process.returncode == 0
